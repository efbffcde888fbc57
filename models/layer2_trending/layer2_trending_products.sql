-- One row per trending product: the most offered ones of the window, ranked without gaps.
with

recent_offers as (

    select offer_id from {{ ref('layer2_recent_offers') }}

),

offer_items as (

    select * from {{ ref('stg_offer_items') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

),

products as (

    select * from {{ ref('stg_products') }}

),

-- Shoes of both sides count; an offer of two variants of a product counts once for it.
counted as (

    select
        product_variants.product_id,
        count(distinct recent_offers.offer_id) as offers_count
    from recent_offers
    inner join offer_items on recent_offers.offer_id = offer_items.offer_id
    inner join product_variants on offer_items.variant_id = product_variants.variant_id
    group by product_variants.product_id

),

ranked as (

    select
        *,
        row_number() over (order by offers_count desc, product_id asc) as product_rank
    from counted

)

select
    ranked.product_id,
    products.product_name,
    ranked.offers_count,
    ranked.product_rank
from ranked
inner join products on ranked.product_id = products.product_id
where ranked.product_rank <= {{ var('top_products') }}
