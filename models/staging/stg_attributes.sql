-- One row per attribute that users can have preferences for (mens_size, brand).
with

attributes as (

    select * from {{ source('marketplace', 'attributes') }}

)

select
    ---------- ids
    id as attribute_id,

    ---------- text
    name as attribute_name

from attributes
