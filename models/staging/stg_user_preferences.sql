-- One row per user who stated preferences.
select
    ---------- ids
    id as user_preference_id,
    user_id

from {{ source('marketplace', 'user_preferences') }}
