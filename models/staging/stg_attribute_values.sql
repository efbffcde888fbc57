-- One row per value that an attribute can take.
with

attribute_values as (

    select * from {{ source('marketplace', 'attribute_values') }}

)

select
    ---------- ids
    id as attribute_value_id,

    ---------- text
    value::text as attribute_value

from attribute_values
