-- One row per offer, of any status, deleted or not: making it was the action.
select
    ---------- ids
    id as offer_id,
    creator_user_id,

    ---------- text
    offer_status,

    ---------- booleans
    deleted_at <> 0 as is_deleted,  -- 0 = never deleted

    ---------- timestamps
    created_at

from {{ source('marketplace', 'offers') }}
