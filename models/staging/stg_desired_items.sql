-- One row per shoe that the app found a user to be after.
select
    ---------- ids
    id as desired_item_id,
    user_id,
    product_variant_id as variant_id,

    ---------- numerics
    offers_count,

    ---------- timestamps
    created_at

from {{ source('marketplace', 'desired_items') }}
-- 0 = never deleted
where deleted_at = 0
