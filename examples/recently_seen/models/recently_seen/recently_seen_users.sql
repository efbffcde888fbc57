-- One row per living user whom the app saw in the window.
with

users as (

    select * from {{ ref('stg_users') }}

),

user_activities as (

    select * from {{ ref('stg_user_activities') }}

),

seen as (

    select *
    from user_activities
    where
        last_active_at
        >= '{{ run_started_at }}'::timestamptz - interval '1 hour' * {{ var('seen_hours') }}
        and last_active_at < '{{ run_started_at }}'::timestamptz

)

select
    users.user_id,
    users.first_name as "firstName",
    seen.last_active_at as "lastActive"
from users
inner join seen on users.user_id = seen.user_id
