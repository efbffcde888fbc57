-- One row per living user who was created in the window.
with

users as (

    select * from {{ ref('stg_users') }}

)

select
    user_id,
    username,
    first_name,
    -- blanks are no bio: they show nothing
    btrim(coalesce(bio, ''), E' \t\r\n') <> '' as has_bio,
    created_at,
    not {{ var('require_first_name') }}
    -- blanks are no name: the push would read "Hey ,"
    or btrim(coalesce(first_name, ''), E' \t\r\n') <> '' as keep_first_name
from users
-- The window is half-open: who was created on its start counts, who was on its end does not.
where
    created_at >= '{{ run_started_at }}'::timestamptz
    - interval '24 hours' * {{ var('max_age_days') }}
    and created_at < '{{ run_started_at }}'::timestamptz
    - interval '1 hour' * {{ var('min_age_hours') }}
