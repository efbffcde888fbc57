-- One row per user who was ever seen, with the last time.
with

user_activities as (

    select * from {{ source('marketplace', 'user_activities') }}

)

select
    ---------- ids
    user_id,

    ---------- timestamps
    last_active as last_active_at

from user_activities
