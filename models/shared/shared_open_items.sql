-- One row per shoe in a living owner's closet that is open for trade.
select
    inventory_items.inventory_item_id,
    inventory_items.user_id,
    inventory_items.variant_id,
    inventory_items.created_at
from {{ ref('stg_inventory_items') }} as inventory_items
-- a miss is a living owner: the few deleted ones are looked up faster than all the others
left join {{ ref('stg_deleted_users') }} as deleted_users
    on inventory_items.user_id = deleted_users.user_id
where deleted_users.user_id is null
