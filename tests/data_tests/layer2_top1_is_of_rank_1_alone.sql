-- One row per user of the wrong file: the first rank is in one file, all others are in the other.
with

trending_top1 as (

    select * from {{ ref('layer2_trending_top1') }}

),

trending_others as (

    select * from {{ ref('layer2_trending_others') }}

)

select
    user_id,
    trending_rank
from trending_top1
where trending_rank <> '1st'

union all

select
    user_id,
    trending_rank
from trending_others
where trending_rank = '1st'
