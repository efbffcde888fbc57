-- One row per holder of a trending shoe: the one item that the push will be about.
with

trending_products as (

    select * from {{ ref('layer2_trending_products') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

),

inventory_items as (

    select * from {{ ref('stg_inventory_items') }}

),

users as (

    select * from {{ ref('stg_users') }}

),

user_activities as (

    select * from {{ ref('stg_user_activities') }}

),

trending_items as (

    select
        inventory_items.inventory_item_id,
        inventory_items.user_id,
        inventory_items.variant_id,
        inventory_items.created_at,
        trending_products.product_name,
        trending_products.product_rank
    from inventory_items
    inner join product_variants on inventory_items.variant_id = product_variants.variant_id
    inner join trending_products on product_variants.product_id = trending_products.product_id

),

-- There is no upper bound: who was seen after the run's start is active too.
active_users as (

    select
        users.user_id,
        users.username,
        users.first_name,
        user_activities.last_active_at
    from users
    inner join user_activities on users.user_id = user_activities.user_id
    where
        user_activities.last_active_at >= '{{ run_started_at }}'::timestamptz
        - interval '24 hours' * {{ var('activity_days') }}

),

held as (

    select
        active_users.user_id,
        active_users.username,
        active_users.first_name,
        active_users.last_active_at,
        trending_items.inventory_item_id,
        trending_items.variant_id,
        trending_items.created_at,
        trending_items.product_name,
        trending_items.product_rank,
        count(*) over (partition by active_users.user_id) as trending_items_count
    from trending_items
    inner join active_users on trending_items.user_id = active_users.user_id

)

-- The best ranked product, of several items of it the newest.
select distinct on (user_id)
    user_id,
    username,
    first_name,
    last_active_at,
    inventory_item_id,
    variant_id,
    product_name,
    product_rank,
    trending_items_count
from held
order by
    user_id asc,
    product_rank asc,
    created_at desc,
    inventory_item_id asc
