-- One row per variant that an offer or a wishlist add in play is about and that somebody has to
-- trade: how many closets hold it.
with

candidates as (

    select * from {{ ref('layer3_candidates') }}

),

inventory_items as (

    select * from {{ ref('stg_inventory_items') }}

),

users as (

    select * from {{ ref('stg_users') }}

),

variants_in_play as (

    select variant_id
    from candidates
    where action_type in ('offer_created', 'wishlist_add')

)

select
    inventory_items.variant_id,
    count(*) as inventory_count
from inventory_items
inner join users on inventory_items.user_id = users.user_id
where inventory_items.variant_id in (select variants_in_play.variant_id from variants_in_play)
group by inventory_items.variant_id
