-- One row per attribute that users can have preferences for (mens_size, brand).
select
    ---------- ids
    id as attribute_id,

    ---------- text
    name as attribute_name

from {{ source('marketplace', 'attributes') }}
