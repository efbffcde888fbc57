-- One row per variant that a closet add in play is about and that somebody wants: how many
-- wishlists hold it.
with

candidates as (

    select
        variant_id,
        action_type
    from {{ ref('layer3_candidates') }}

),

wishes as (

    select * from {{ ref('shared_wishes') }}

),

variants_in_play as (

    select variant_id
    from candidates
    where action_type = 'closet_add'

)

select
    variant_id,
    count(*) as wishlist_count
from wishes
where variant_id in (select variants_in_play.variant_id from variants_in_play)
group by variant_id
