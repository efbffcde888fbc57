-- One row per new user: living, created in the window, with a first name if that is required.
with

created_users as (

    select * from {{ ref('layer5_created_users') }}

)

select
    user_id,
    username,
    first_name,
    has_bio,
    created_at
from created_users
where keep_first_name
