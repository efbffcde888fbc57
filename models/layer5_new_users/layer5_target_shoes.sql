-- One row per new user with shoes and a bio who is after a shoe: the one that they target.
with

new_users as (

    select user_id from {{ ref('layer5_with_shoes_and_bio') }}

),

desired_items as (

    select * from {{ ref('stg_desired_items') }}

),

offer_variants as (

    select * from {{ ref('shared_offer_variants') }}

),

wishlist_items as (

    select * from {{ ref('stg_wishlist_items') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

),

products as (

    select * from {{ ref('stg_products') }}

),

desired as (

    select distinct on (user_id)
        user_id,
        variant_id
    from desired_items
    where user_id in (select new_users.user_id from new_users)
    order by
        user_id asc,
        offers_count desc,
        created_at desc,
        desired_item_id asc

),

-- Of the newest offer that has an item: what the user wants before what they give.
offered as (

    select distinct on (creator_user_id)
        creator_user_id as user_id,
        variant_id
    from offer_variants
    where creator_user_id in (select new_users.user_id from new_users)
    order by
        creator_user_id asc,
        created_at desc,
        offer_id asc,
        offer_item_owner = 'RECEIVER' desc,
        offer_item_id asc

),

wished as (

    select distinct on (user_id)
        user_id,
        variant_id
    from wishlist_items
    where user_id in (select new_users.user_id from new_users)
    order by
        user_id asc,
        created_at desc,
        wishlist_item_id asc

),

-- The first of these that exists; who has none of them has no row at the end.
chosen as (

    select
        new_users.user_id,
        coalesce(desired.variant_id, offered.variant_id, wished.variant_id) as variant_id
    from new_users
    -- a miss means that the next one counts
    left join desired on new_users.user_id = desired.user_id
    left join offered on new_users.user_id = offered.user_id
    left join wished on new_users.user_id = wished.user_id

)

select
    chosen.user_id,
    chosen.variant_id,
    products.product_name
from chosen
inner join product_variants on chosen.variant_id = product_variants.variant_id
inner join products on product_variants.product_id = products.product_id
