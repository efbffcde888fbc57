-- One row per product variant, deleted ones included: what a user did with it still happened.
with

product_variants as (

    select * from {{ source('marketplace', 'product_variants') }}

)

select
    ---------- ids
    id as variant_id,
    product_id,

    ---------- text
    index_cache

from product_variants
