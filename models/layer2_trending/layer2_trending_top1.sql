-- One row per user who holds the shoe that is offered most.
with

enriched as (

    select * from {{ ref('layer2_enriched') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    preferred_size as usersize,
    product_name,
    {{ ordinal('product_rank') }} as trending_rank,
    variant_id as "variantID",
    variant_size as relevant_variant_size,
    wishlist_count,
    open_offers_count as variant_open_offers,
    last_active_at as "lastActive",
    product_rank
from enriched
where
    product_rank = 1
    and keep_open_offers
