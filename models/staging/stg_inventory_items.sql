-- One row per shoe in a user's closet that is open for trade.
with

inventory_items as (

    select * from {{ source('marketplace', 'inventory_items') }}

)

select
    ---------- ids
    id as inventory_item_id,
    user_id,
    product_variant_id as variant_id,

    ---------- timestamps
    created_at

from inventory_items
-- the status alone decides: a removed or traded item leaves OPEN_FOR_TRADE
where status = 'OPEN_FOR_TRADE'
