-- One row per action that a living user took in the window.
with

users as (

    select * from {{ ref('stg_users') }}

),

inventory_items as (

    select * from {{ ref('stg_inventory_items') }}

),

wishlist_items as (

    select * from {{ ref('stg_wishlist_items') }}

),

offer_variants as (

    select * from {{ ref('shared_offer_variants') }}

),

-- An offer of several shoes is about the one with the smallest item id.
offers_made as (

    select
        creator_user_id,
        offer_id,
        created_at,
        (array_agg(variant_id order by offer_item_id))[1] as variant_id
    from offer_variants
    group by creator_user_id, offer_id, created_at

),

actions as (

    select
        creator_user_id as user_id,
        'offer_created' as action_type,
        offer_id as action_id,
        variant_id,
        created_at
    from offers_made

    union all

    select
        user_id,
        'closet_add' as action_type,
        inventory_item_id as action_id,
        variant_id,
        created_at
    from inventory_items

    union all

    select
        user_id,
        'wishlist_add' as action_type,
        wishlist_item_id as action_id,
        variant_id,
        created_at
    from wishlist_items

)

select
    users.user_id,
    actions.action_type,
    actions.action_id,
    actions.variant_id,
    actions.created_at
from actions
inner join users on actions.user_id = users.user_id
where {{ in_layer3_window('actions.created_at') }}
