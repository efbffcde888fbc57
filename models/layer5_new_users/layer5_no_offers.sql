-- One row per new user with shoes and a bio who never made an offer.
with

enriched as (

    select * from {{ ref('layer5_enriched') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    3 as new_user_level,
    product_name as top_target_shoe,
    variant_id as top_target_shoe_variantid,
    created_at
from enriched
where not has_offers
