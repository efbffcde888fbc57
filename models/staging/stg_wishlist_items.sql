-- One row per shoe on a user's wishlist.
select
    ---------- ids
    id as wishlist_item_id,
    user_id,
    product_variant_id as variant_id,

    ---------- timestamps
    created_at

from {{ source('marketplace', 'wishlist_items') }}
-- 0 = never deleted
where deleted_at = 0
