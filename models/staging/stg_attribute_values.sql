-- One row per value that an attribute can take.
select
    ---------- ids
    id as attribute_value_id,

    ---------- text
    value::text as attribute_value

from {{ source('marketplace', 'attribute_values') }}
