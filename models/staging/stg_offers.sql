-- One row per offer, of any status, deleted or not: making it was the action.
select
    ---------- ids
    id as offer_id,
    creator_user_id,

    ---------- timestamps
    created_at

from {{ source('marketplace', 'offers') }}
