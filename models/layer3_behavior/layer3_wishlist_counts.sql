-- One row per variant that a closet add in play is about and that somebody wants: how many
-- wishlists hold it.
with

candidates as (

    select * from {{ ref('layer3_candidates') }}

),

wishlist_items as (

    select * from {{ ref('stg_wishlist_items') }}

),

users as (

    select * from {{ ref('stg_users') }}

),

variants_in_play as (

    select variant_id
    from candidates
    where action_type = 'closet_add'

)

select
    wishlist_items.variant_id,
    count(*) as wishlist_count
from wishlist_items
inner join users on wishlist_items.user_id = users.user_id
where wishlist_items.variant_id in (select variants_in_play.variant_id from variants_in_play)
group by wishlist_items.variant_id
