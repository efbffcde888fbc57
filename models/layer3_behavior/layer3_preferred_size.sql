-- One row per user whose action is in demand and who stated a preferred size.
with

prioritized as (

    select
        user_id,
        keep_demand
    from {{ ref('layer3_prioritized') }}

),

size_preferences as (

    select * from {{ ref('shared_size_preferences') }}

),

in_demand as (

    select user_id
    from prioritized
    where keep_demand

)

-- Of several preferred sizes the one with the smallest id counts.
select distinct on (user_id)
    user_id,
    size as preferred_size
from size_preferences
where
    user_id in (select in_demand.user_id from in_demand)
    and attribute_name = '{{ var('size_attribute') }}'
order by user_id, attribute_preference_id
