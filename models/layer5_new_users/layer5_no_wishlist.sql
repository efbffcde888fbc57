-- One row per new user with shoes, bio and offers whose wishlist is empty.
with

enriched as (

    select * from {{ ref('layer5_enriched') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    4 as new_user_level,
    product_name as top_target_shoe,
    variant_id as top_target_shoe_variantid,
    created_at
from enriched
where
    has_offers
    and not has_wishes
