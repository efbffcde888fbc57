-- One row per action that may become its user's push: the strongest one, or all of them, ranked,
-- if the next best one may step in.
with

recent_activity as (

    select * from {{ ref('layer3_recent_activity') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by user_id
            order by
                -- strongest intent first
                case action_type
                    when 'offer_created' then 1
                    when 'closet_add' then 2
                    when 'wishlist_add' then 3
                end,
                created_at desc,
                variant_id desc,
                action_id asc
        ) as action_rank,
        max(created_at) over (partition by user_id) as newest_activity_at
    from recent_activity

)

select
    user_id,
    action_type,
    action_id,
    action_rank,
    action_rank < 2 as is_strongest,
    variant_id,
    created_at,
    newest_activity_at
from ranked
-- not "= 1": of that the planner expects one row in two hundred, and plans for a handful
where
    action_rank < 2
    or {{ var('use_next_best_action') }}
