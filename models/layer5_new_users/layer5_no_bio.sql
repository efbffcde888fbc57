-- One row per new user who has had shoes, but has no bio: the second step is missing.
with

shoes as (

    select * from {{ ref('layer5_shoes') }}

)

select
    user_id,
    username,
    first_name as "firstName",
    2 as new_user_level,
    created_at
from shoes
where
    has_shoes
    and not has_bio
