-- One row if trending products are not ranked 1, 2, 3, ..., or are more than top_products.
with

trending_products as (

    select * from {{ ref('layer2_trending_products') }}

),

counted as (

    select
        count(*) as products_count,
        max(product_rank) as last_rank
    from trending_products

)

select
    products_count,
    last_rank
from counted
where
    last_rank <> products_count
    or products_count > {{ var('top_products') }}
