-- One row per product variant, deleted ones included: what a user did with it still happened.
select
    ---------- ids
    id as variant_id,
    product_id,

    ---------- text
    index_cache

from {{ source('marketplace', 'product_variants') }}
