-- One row per user whose push would answer an action outside the window.
with

enriched as (

    select * from {{ ref('layer3_enriched') }}

),

prioritized as (

    select * from {{ ref('layer3_prioritized') }}

)

select
    enriched.user_id,
    prioritized.created_at
from enriched
inner join prioritized on enriched.user_id = prioritized.user_id
where not ({{ in_layer3_window('prioritized.created_at') }})
