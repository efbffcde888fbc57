-- One row per user whose push is about an offer they made.
with

enriched as (

    select * from {{ ref('layer3_enriched') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    preferred_size as usersize,
    variant_size as relevant_variant_size,
    product_name,
    variant_id as "variantID",
    last_active_at as "lastActive",
    demand_count as inventory_count,
    newest_activity_at
from enriched
where
    action_type = 'offer_created'
    and keep_profile
