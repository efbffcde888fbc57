-- One row per offer that became a trade, deleted or not.
select
    ---------- ids
    id as trade_id,
    offer_id,

    ---------- timestamps
    validation_passed_date as validation_passed_at  -- NULL until both shoes were found genuine

from {{ source('marketplace', 'trades') }}
