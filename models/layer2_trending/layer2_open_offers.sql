-- One row per variant in play that is in an open offer: in how many, from either side.
with

holders as (

    select
        variant_id,
        keep_profile
    from {{ ref('layer2_holders') }}

),

offer_variants as (

    select * from {{ ref('shared_offer_variants') }}

),

variants_in_play as (

    select variant_id
    from holders
    where keep_profile

)

select
    variant_id,
    count(distinct offer_id) as open_offers_count
from offer_variants
where
    variant_id in (select variants_in_play.variant_id from variants_in_play)
    and offer_status = 'OPEN'
    and not is_deleted
    and created_at >= '{{ run_started_at }}'::timestamptz
    - interval '24 hours' * {{ var('open_offer_days') }}
    and created_at < '{{ run_started_at }}'::timestamptz
group by variant_id
