-- One row per shoe in an offer, deleted or not, from either side.
select
    ---------- ids
    id as offer_item_id,
    offer_id,
    product_variant_id as variant_id,

    ---------- text
    offer_item_owner  -- CREATOR gives the shoe, RECEIVER is asked for it

from {{ source('marketplace', 'offer_items') }}
