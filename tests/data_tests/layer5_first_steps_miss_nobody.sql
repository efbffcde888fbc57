-- One row per new user who is neither in the file of one of the first two steps nor goes on to the
-- others, and per user there who is not new.
with

new_users as (

    select * from {{ ref('layer5_new_users') }}

),

no_shoes as (

    select * from {{ ref('layer5_no_shoes') }}

),

no_bio as (

    select * from {{ ref('layer5_no_bio') }}

),

with_shoes_and_bio as (

    select * from {{ ref('layer5_with_shoes_and_bio') }}

),

placed as (

    select user_id from no_shoes
    union all
    select user_id from no_bio
    union all
    select user_id from with_shoes_and_bio

)

select coalesce(new_users.user_id, placed.user_id) as user_id
from new_users
full join placed on new_users.user_id = placed.user_id
group by new_users.user_id, placed.user_id
-- a miss on either side, or two places
having count(placed.user_id) <> 1 or count(new_users.user_id) <> 1
