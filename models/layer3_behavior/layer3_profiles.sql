-- One row per user whose action is in demand: what the push says about them.
with

prioritized as (

    select
        user_id,
        keep_demand
    from {{ ref('layer3_prioritized') }}

),

users as (

    select * from {{ ref('stg_users') }}

),

user_activities as (

    select * from {{ ref('stg_user_activities') }}

),

preferred_size as (

    select * from {{ ref('layer3_preferred_size') }}

),

in_demand as (

    select user_id
    from prioritized
    where keep_demand

)

select
    users.user_id,
    users.username,
    users.first_name,
    preferred_size.preferred_size,
    user_activities.last_active_at
from users
-- a miss means never seen, or no size stated: an empty field in the file
left join user_activities on users.user_id = user_activities.user_id
left join preferred_size on users.user_id = preferred_size.user_id
where users.user_id in (select in_demand.user_id from in_demand)
