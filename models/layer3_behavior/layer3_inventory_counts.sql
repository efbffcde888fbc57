-- One row per variant that an offer or a wishlist add in play is about and that somebody has to
-- trade: how many closets hold it.
with

candidates as (

    select
        variant_id,
        action_type
    from {{ ref('layer3_candidates') }}

),

open_items as (

    select * from {{ ref('shared_open_items') }}

),

variants_in_play as (

    select variant_id
    from candidates
    where action_type in ('offer_created', 'wishlist_add')

)

select
    variant_id,
    count(*) as inventory_count
from open_items
where variant_id in (select variants_in_play.variant_id from variants_in_play)
group by variant_id
