-- One row per new user who was not created in the window.
with

new_users as (

    select * from {{ ref('layer5_new_users') }}

)

select
    user_id,
    created_at
from new_users
where
    not (
        created_at >= '{{ run_started_at }}'::timestamptz
        - interval '24 hours' * {{ var('max_age_days') }}
        and created_at < '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * {{ var('min_age_hours') }}
    )
