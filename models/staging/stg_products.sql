-- One row per product, deleted ones included: what a user did with it still happened.
select
    ---------- ids
    id as product_id,

    ---------- text
    name as product_name

from {{ source('marketplace', 'products') }}
