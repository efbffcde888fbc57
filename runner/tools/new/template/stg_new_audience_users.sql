-- One row per living user.
-- Staging: one plain select from one source, which renames columns and drops dead rows.
-- Change: a staging model that exists already (models/staging/) makes this one unnecessary.
select
    ---------- ids
    id as user_id,

    ---------- text
    first_name,

    ---------- timestamps
    created_at
from {{ source('marketplace', 'users') }}
where deleted_at = 0  -- 0: never deleted
