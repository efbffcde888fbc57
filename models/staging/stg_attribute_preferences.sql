-- One row per attribute value that a user prefers.
select
    ---------- ids
    id as attribute_preference_id,
    user_preference_id,
    attribute_id,
    attribute_value_id

from {{ source('marketplace', 'attribute_preferences') }}
where preferred
