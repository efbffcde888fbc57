-- One row per new user with shoes and a bio: which steps are left, and the shoe that they target.
with

new_users as (

    select * from {{ ref('layer5_with_shoes_and_bio') }}

),

offers as (

    select * from {{ ref('stg_offers') }}

),

wishlist_items as (

    select * from {{ ref('stg_wishlist_items') }}

),

target_shoes as (

    select * from {{ ref('layer5_target_shoes') }}

),

offer_creators as (

    select distinct creator_user_id
    from offers
    where creator_user_id in (select new_users.user_id from new_users)

),

wishers as (

    select distinct user_id
    from wishlist_items
    where user_id in (select new_users.user_id from new_users)

)

select
    new_users.user_id,
    new_users.username,
    new_users.first_name,
    offer_creators.creator_user_id is not null as has_offers,
    wishers.user_id is not null as has_wishes,
    target_shoes.product_name,
    target_shoes.variant_id,
    new_users.created_at
from new_users
-- a miss has made no offer, has no wish, or is after no shoe: an empty field in the file
left join offer_creators on new_users.user_id = offer_creators.creator_user_id
left join wishers on new_users.user_id = wishers.user_id
left join target_shoes on new_users.user_id = target_shoes.user_id
