-- One row per user whose shoe is in fewer open offers than a push needs.
with

trending_top1 as (

    select * from {{ ref('layer2_trending_top1') }}

),

trending_others as (

    select * from {{ ref('layer2_trending_others') }}

)

select
    user_id,
    variant_open_offers
from trending_top1
where variant_open_offers < {{ var('min_open_offers') }}

union all

select
    user_id,
    variant_open_offers
from trending_others
where variant_open_offers < {{ var('min_open_offers') }}
