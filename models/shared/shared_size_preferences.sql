-- One row per attribute value that a user prefers, such as a shoe size.
select
    user_preferences.user_id,
    attributes.attribute_name,
    attribute_preferences.attribute_preference_id,
    attribute_values.attribute_value as size
from {{ ref('stg_attribute_preferences') }} as attribute_preferences
inner join {{ ref('stg_user_preferences') }} as user_preferences
    on attribute_preferences.user_preference_id = user_preferences.user_preference_id
inner join {{ ref('stg_attributes') }} as attributes
    on attribute_preferences.attribute_id = attributes.attribute_id
inner join {{ ref('stg_attribute_values') }} as attribute_values
    on attribute_preferences.attribute_value_id = attribute_values.attribute_value_id
