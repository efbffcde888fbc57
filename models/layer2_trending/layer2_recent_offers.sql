-- One row per offer made in the window, of any status, deleted or not.
with

offers as (

    select * from {{ ref('stg_offers') }}

)

select
    offer_id,
    created_at
from offers
where
    created_at >= '{{ run_started_at }}'::timestamptz
    - interval '24 hours' * {{ var('trending_days') }}
    and created_at < '{{ run_started_at }}'::timestamptz
