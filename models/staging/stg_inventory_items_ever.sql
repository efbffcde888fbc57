-- One row per shoe that is or ever was in a user's closet, of any status, deleted or not.
select
    ---------- ids
    id as inventory_item_id,
    user_id

from {{ source('marketplace', 'inventory_items') }}
