-- One row per new user who has taken every step: shoes, bio, offers and wishes.
with

enriched as (

    select * from {{ ref('layer5_enriched') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    5 as new_user_level,
    product_name as top_target_shoe,
    variant_id as top_target_shoe_variantid,
    created_at
from enriched
where
    has_offers
    and has_wishes
