-- One row per variant in play that somebody wants: how many wishlists of living users hold it.
with

holders as (

    select
        variant_id,
        keep_profile
    from {{ ref('layer2_holders') }}

),

wishes as (

    select * from {{ ref('shared_wishes') }}

),

variants_in_play as (

    select variant_id
    from holders
    where keep_profile

)

select
    variant_id,
    count(*) as wishlist_count
from wishes
where variant_id in (select variants_in_play.variant_id from variants_in_play)
group by variant_id
