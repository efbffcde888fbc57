-- One row per user with activity in the window: when the newest action of any kind happened.
with

recent_activity as (

    select * from {{ ref('layer3_recent_activity') }}

)

select
    user_id,
    max(created_at) as newest_activity_at
from recent_activity
group by user_id
