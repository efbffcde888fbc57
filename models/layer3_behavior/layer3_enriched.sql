-- One row per user with activity in the window: all that a push needs, and whether it is sent.
with

prioritized as (

    select * from {{ ref('layer3_prioritized') }}

),

newest_activity as (

    select * from {{ ref('layer3_newest_activity') }}

),

profiles as (

    select * from {{ ref('layer3_profiles') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

)

select
    prioritized.user_id,
    prioritized.action_type,
    prioritized.variant_id,
    prioritized.product_name,
    -- missing and JSON null are both NULL here; '' is a size that was left empty, and stays
    coalesce(product_variants.index_cache ->> '{{ var('size_attribute') }}', 'Unknown')
        as variant_size,
    profiles.username,
    profiles.first_name,
    profiles.preferred_size,
    profiles.last_active_at,
    newest_activity.newest_activity_at,
    prioritized.demand_count,
    prioritized.keep_demand,
    not {{ var('require_complete_profile') }}
    or (
        -- blanks are no name: the push would read "Hey ,"
        btrim(coalesce(profiles.first_name, ''), E' \t\r\n') <> ''
        and btrim(coalesce(profiles.preferred_size, ''), E' \t\r\n') <> ''
    ) as keep_profile
from prioritized
inner join newest_activity on prioritized.user_id = newest_activity.user_id
inner join profiles on prioritized.user_id = profiles.user_id
inner join product_variants on prioritized.variant_id = product_variants.variant_id
