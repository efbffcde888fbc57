-- One row per living user.
select
    ---------- ids
    id as user_id,

    ---------- text
    username::text as username,
    first_name::text as first_name,
    bio::text as bio,

    ---------- timestamps
    created_at

from {{ source('marketplace', 'users') }}
-- 0 = never deleted
where deleted_at = 0
