-- One row per holder with a complete profile: all that a push needs, and whether it is sent.
with

holders as (

    select * from {{ ref('layer2_holders') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

),

wishlist_counts as (

    select * from {{ ref('layer2_wishlist_counts') }}

),

open_offers as (

    select * from {{ ref('layer2_open_offers') }}

)

select
    holders.user_id,
    holders.username,
    holders.first_name,
    holders.preferred_size,
    holders.last_active_at,
    holders.variant_id,
    holders.product_name,
    holders.product_rank,
    holders.trending_items_count,
    -- missing and JSON null are both NULL here; '' is a size that was left empty, and stays
    coalesce(product_variants.index_cache ->> '{{ var('size_attribute') }}', 'Unknown')
        as variant_size,
    coalesce(wishlist_counts.wishlist_count, 0) as wishlist_count,
    coalesce(open_offers.open_offers_count, 0) as open_offers_count,
    coalesce(open_offers.open_offers_count, 0) >= {{ var('min_open_offers') }} as keep_open_offers
from holders
inner join product_variants on holders.variant_id = product_variants.variant_id
-- a miss is wanted by nobody, or in no open offer: 0
left join wishlist_counts on holders.variant_id = wishlist_counts.variant_id
left join open_offers on holders.variant_id = open_offers.variant_id
where holders.keep_profile
