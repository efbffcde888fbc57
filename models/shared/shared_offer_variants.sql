-- One row per shoe in an offer, from either side, with the offer it is in.
select
    offers.offer_id,
    offer_items.offer_item_id,
    offer_items.variant_id,
    offer_items.offer_item_owner,
    offers.creator_user_id,
    offers.offer_status,
    offers.is_deleted,
    offers.created_at
from {{ ref('stg_offers') }} as offers
inner join {{ ref('stg_offer_items') }} as offer_items on offers.offer_id = offer_items.offer_id
