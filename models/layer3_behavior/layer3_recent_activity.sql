-- One row per action that a living user took in the window.
with

-- not materialized: it is read in three arms, and each finds its few users by index
users as not materialized (

    select * from {{ ref('stg_users') }}

),

inventory_items as (

    select * from {{ ref('stg_inventory_items') }}

),

wishlist_items as (

    select * from {{ ref('stg_wishlist_items') }}

),

offers as (

    select * from {{ ref('stg_offers') }}

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

-- The window is half-open: an action on its start counts, one on its end does not.
closet_adds as (

    select
        users.user_id,
        'closet_add' as action_type,
        inventory_items.inventory_item_id as action_id,
        inventory_items.variant_id,
        inventory_items.created_at
    from inventory_items
    inner join users on inventory_items.user_id = users.user_id
    where
        inventory_items.created_at >= '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * ({{ var('lookback_hours') }} - {{ var('cooling_hours') }})
        and inventory_items.created_at < '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * {{ var('cooling_hours') }}

),

wishlist_adds as (

    select
        users.user_id,
        'wishlist_add' as action_type,
        wishlist_items.wishlist_item_id as action_id,
        wishlist_items.variant_id,
        wishlist_items.created_at
    from wishlist_items
    inner join users on wishlist_items.user_id = users.user_id
    where
        wishlist_items.created_at >= '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * ({{ var('lookback_hours') }} - {{ var('cooling_hours') }})
        and wishlist_items.created_at < '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * {{ var('cooling_hours') }}

),

recent_offers as (

    select
        users.user_id,
        offers.offer_id,
        offers.created_at
    from offers
    inner join users on offers.creator_user_id = users.user_id
    where
        offers.created_at >= '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * ({{ var('lookback_hours') }} - {{ var('cooling_hours') }})
        and offers.created_at < '{{ run_started_at }}'::timestamptz
        - interval '1 hour' * {{ var('cooling_hours') }}

),

-- An offer of several shoes is about the one with the smallest item id.
first_offer_items as (

    select
        offer_id,
        (array_agg(variant_id order by offer_item_id))[1] as variant_id
    from offer_items
    -- equivalent: `offer_id in (select recent_offers.offer_id from recent_offers)` to `true`: the
    -- join below drops the items of older offers; here they are not even read
    where offer_id in (select recent_offers.offer_id from recent_offers)
    group by offer_id

),

offers_created as (

    select
        recent_offers.user_id,
        'offer_created' as action_type,
        recent_offers.offer_id as action_id,
        first_offer_items.variant_id,
        recent_offers.created_at
    from recent_offers
    -- equivalent: `inner join` to `left join`: an offer without items has no variant, and the join
    -- to product_variants drops it
    inner join first_offer_items on recent_offers.offer_id = first_offer_items.offer_id

),

actions as (

    select
        user_id,
        action_type,
        action_id,
        variant_id,
        created_at
    from offers_created

    -- equivalent: `union all` to `union`: an action is in one arm, once
    union all

    select
        user_id,
        action_type,
        action_id,
        variant_id,
        created_at
    from closet_adds

    -- equivalent: `union all` to `union`: an action is in one arm, once
    union all

    select
        user_id,
        action_type,
        action_id,
        variant_id,
        created_at
    from wishlist_adds

)

select
    actions.user_id,
    actions.action_type,
    actions.action_id,
    actions.variant_id,
    products.product_name,
    actions.created_at
from actions
-- equivalent: `inner join` to `left join`: a miss has no product, and the next join drops it
inner join product_variants on actions.variant_id = product_variants.variant_id
inner join products on product_variants.product_id = products.product_id
