-- One row per shoe on a living user's wishlist.
select
    wishlist_items.wishlist_item_id,
    wishlist_items.user_id,
    wishlist_items.variant_id,
    wishlist_items.created_at
from {{ ref('stg_wishlist_items') }} as wishlist_items
-- a miss is a living owner: the few deleted ones are looked up faster than all the others
left join {{ ref('stg_deleted_users') }} as deleted_users
    on wishlist_items.user_id = deleted_users.user_id
where deleted_users.user_id is null
