-- One row per user with activity in the window: the one action that the push will be about.
with

candidates as (

    select * from {{ ref('layer3_candidates') }}

),

inventory_counts as (

    select * from {{ ref('layer3_inventory_counts') }}

),

wishlist_counts as (

    select * from {{ ref('layer3_wishlist_counts') }}

),

-- Who offered or wishes for a shoe is answered with how many can be had, who has one with how
-- many want it.
counted as (

    select
        candidates.*,
        case candidates.action_type
            when 'closet_add' then coalesce(wishlist_counts.wishlist_count, 0)
            else coalesce(inventory_counts.inventory_count, 0)
        end as demand_count
    from candidates
    -- a miss means that no closet or no wishlist holds the shoe: 0
    left join inventory_counts on candidates.variant_id = inventory_counts.variant_id
    left join wishlist_counts on candidates.variant_id = wishlist_counts.variant_id

),

judged as (

    select
        *,
        case action_type
            when 'closet_add' then demand_count >= {{ var('min_wishlist_count') }}
            else demand_count >= {{ var('min_inventory_count') }}
        end as keep_demand
    from counted

)

-- Each user has one candidate here, unless use_next_best_action lets weaker ones in: then the
-- strongest that is in demand wins, and without any the strongest.
select distinct on (user_id)
    user_id,
    action_type,
    action_id,
    variant_id,
    created_at,
    newest_activity_at,
    demand_count,
    keep_demand
from judged
order by user_id asc, keep_demand desc, action_rank asc
