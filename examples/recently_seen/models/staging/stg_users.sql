-- One row per living user.
with

users as (

    select * from {{ source('marketplace', 'users') }}

)

select
    ---------- ids
    id as user_id,

    ---------- text
    username::text as username,
    first_name::text as first_name

from users
-- 0 = never deleted
where deleted_at = 0
