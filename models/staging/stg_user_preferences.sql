-- One row per user who stated preferences.
with

user_preferences as (

    select * from {{ source('marketplace', 'user_preferences') }}

)

select
    ---------- ids
    id as user_preference_id,
    user_id

from user_preferences
