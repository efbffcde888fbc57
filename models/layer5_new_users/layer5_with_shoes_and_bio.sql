-- One row per new user who has had a shoe and has a bio: the first two steps are taken.
with

shoes as (

    select * from {{ ref('layer5_shoes') }}

)

select
    user_id,
    username,
    first_name,
    created_at
from shoes
where
    has_shoes
    and has_bio
