-- One row per new user with shoes and a bio who is not in exactly one of the last three files, and
-- per user there without shoes or bio.
with

new_users as (

    select * from {{ ref('layer5_with_shoes_and_bio') }}

),

no_offers as (

    select * from {{ ref('layer5_no_offers') }}

),

no_wishlist as (

    select * from {{ ref('layer5_no_wishlist') }}

),

new_stars as (

    select * from {{ ref('layer5_new_stars') }}

),

placed as (

    select user_id from no_offers
    union all
    select user_id from no_wishlist
    union all
    select user_id from new_stars

)

select coalesce(new_users.user_id, placed.user_id) as user_id
from new_users
full join placed on new_users.user_id = placed.user_id
group by new_users.user_id, placed.user_id
-- a miss on either side, or two places
having count(placed.user_id) <> 1 or count(new_users.user_id) <> 1
