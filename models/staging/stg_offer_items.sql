-- One row per shoe in an offer, deleted or not, from either side.
select
    ---------- ids
    id as offer_item_id,
    offer_id,
    product_variant_id as variant_id

from {{ source('marketplace', 'offer_items') }}
