-- One row per living user who signed up in the window.
-- Change: this model is the rule. What it reads stands in the first CTEs, one each.
with

users as (

    select * from {{ ref('stg_new_audience_users') }}

)

select
    user_id,
    first_name,
    created_at
from users
-- The window is half-open: its start counts, its end does not. now() is refused: the run's as-of
-- time is the only clock.
where
    created_at >= '{{ run_started_at }}'::timestamptz - interval '1 hour' * {{ var('max_age_hours') }}
    and created_at < '{{ run_started_at }}'::timestamptz
