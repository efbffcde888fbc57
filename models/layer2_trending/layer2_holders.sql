-- One row per holder of a trending shoe, with their size and whether the profile is complete.
with

chosen_items as (

    select * from {{ ref('layer2_chosen_items') }}

),

size_preferences as (

    select * from {{ ref('shared_size_preferences') }}

),

-- Of several preferred sizes the one with the smallest id counts.
preferred_sizes as (

    select distinct on (user_id)
        user_id,
        size as preferred_size
    from size_preferences
    where
        user_id in (select chosen_items.user_id from chosen_items)
        and attribute_name = '{{ var('size_attribute') }}'
    order by user_id, attribute_preference_id

)

select
    chosen_items.user_id,
    chosen_items.username,
    chosen_items.first_name,
    preferred_sizes.preferred_size,
    chosen_items.last_active_at,
    chosen_items.variant_id,
    chosen_items.product_name,
    chosen_items.product_rank,
    chosen_items.trending_items_count,
    not {{ var('require_complete_profile') }}
    or (
        {{ is_not_blank('chosen_items.username') }}
        and {{ is_not_blank('chosen_items.first_name') }}
        and {{ is_not_blank('preferred_sizes.preferred_size') }}
    ) as keep_profile
from chosen_items
-- a miss stated no size: an empty field in the file
left join preferred_sizes on chosen_items.user_id = preferred_sizes.user_id
