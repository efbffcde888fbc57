-- One row per user whose action is in demand: all that a push needs, and whether it is sent.
with

prioritized as (

    select * from {{ ref('layer3_prioritized') }}

),

profiles as (

    select * from {{ ref('layer3_profiles') }}

),

product_variants as (

    select * from {{ ref('stg_product_variants') }}

),

products as (

    select * from {{ ref('stg_products') }}

)

select
    prioritized.user_id,
    prioritized.action_type,
    prioritized.variant_id,
    products.product_name,
    -- missing and JSON null are both NULL here; '' is a size that was left empty, and stays
    coalesce(product_variants.index_cache ->> '{{ var('size_attribute') }}', 'Unknown')
        as variant_size,
    profiles.username,
    profiles.first_name,
    profiles.preferred_size,
    profiles.last_active_at,
    prioritized.newest_activity_at,
    prioritized.demand_count,
    not {{ var('require_complete_profile') }}
    or (
        -- blanks are no name: the push would read "Hey ,"
        {{ is_not_blank('profiles.first_name') }}
        and {{ is_not_blank('profiles.preferred_size') }}
    ) as keep_profile
from prioritized
inner join profiles on prioritized.user_id = profiles.user_id
inner join product_variants on prioritized.variant_id = product_variants.variant_id
inner join products on product_variants.product_id = products.product_id
where prioritized.keep_demand
