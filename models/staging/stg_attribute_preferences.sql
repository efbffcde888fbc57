-- One row per attribute value that a user prefers.
with

attribute_preferences as (

    select * from {{ source('marketplace', 'attribute_preferences') }}

)

select
    ---------- ids
    id as attribute_preference_id,
    user_preference_id,
    attribute_id,
    attribute_value_id

from attribute_preferences
where preferred
