-- One row per new user who never had a shoe in the closet: the first step is missing.
with

shoes as (

    select * from {{ ref('layer5_shoes') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    1 as new_user_level,
    created_at
from shoes
where not has_shoes
