-- One row per user who was ever seen, with the last time.
select
    ---------- ids
    user_id,

    ---------- timestamps
    last_active as last_active_at

from {{ source('marketplace', 'user_activities') }}
