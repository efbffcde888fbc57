-- One row per prioritized user who stated a preferred size.
with

prioritized as (

    select * from {{ ref('layer3_prioritized') }}

),

user_preferences as (

    select * from {{ ref('stg_user_preferences') }}

),

attribute_preferences as (

    select * from {{ ref('stg_attribute_preferences') }}

),

attributes as (

    select * from {{ ref('stg_attributes') }}

),

attribute_values as (

    select * from {{ ref('stg_attribute_values') }}

)

-- Of several preferred sizes the one with the smallest id counts.
select distinct on (user_preferences.user_id)
    user_preferences.user_id,
    attribute_values.attribute_value as preferred_size
from user_preferences
-- equivalent: `inner join` to `left join`: a miss has no attribute_name and fails the filter
inner join attribute_preferences
    on user_preferences.user_preference_id = attribute_preferences.user_preference_id
-- equivalent: `inner join` to `left join`: a miss has no attribute_name and fails the filter
inner join attributes
    on attribute_preferences.attribute_id = attributes.attribute_id
inner join attribute_values
    on attribute_preferences.attribute_value_id = attribute_values.attribute_value_id
where
    user_preferences.user_id in (select prioritized.user_id from prioritized)
    and attributes.attribute_name = '{{ var('size_attribute') }}'
-- equivalent: `user_preferences.user_id` to `user_preferences.user_id desc`: the order of users
-- chooses no row
order by user_preferences.user_id, attribute_preferences.attribute_preference_id
