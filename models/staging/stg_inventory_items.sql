-- One row per shoe in a user's closet that is open for trade.
select
    ---------- ids
    id as inventory_item_id,
    user_id,
    product_variant_id as variant_id,

    ---------- timestamps
    created_at

from {{ source('marketplace', 'inventory_items') }}
-- the status alone decides: a removed or traded item leaves OPEN_FOR_TRADE
where status = 'OPEN_FOR_TRADE'
