-- One row per new user without a first name, if one is required.
with

new_users as (

    select * from {{ ref('layer5_new_users') }}

)

select user_id
from new_users
where
    {{ var('require_first_name') }}
    and btrim(coalesce(first_name, ''), E' \t\r\n') = ''
