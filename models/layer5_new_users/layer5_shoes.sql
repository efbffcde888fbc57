-- One row per new user: whether they have, or ever had, a shoe in their closet.
with

new_users as (

    select * from {{ ref('layer5_new_users') }}

),

inventory_items as (

    select * from {{ ref('stg_inventory_items_ever') }}

),

-- who removed or traded the only shoe has had one
owners as (

    select distinct user_id
    from inventory_items
    where user_id in (select new_users.user_id from new_users)

)

select
    new_users.user_id,
    new_users.username,
    new_users.first_name,
    owners.user_id is not null as has_shoes,
    new_users.has_bio,
    new_users.created_at
from new_users
-- a miss has had no shoe
left join owners on new_users.user_id = owners.user_id
