-- One row per user in the file who did not sign up in the window.
-- A data test: a run publishes no file while this finds a row. Change or remove it.
with

pushes as (

    select * from {{ ref('new_audience_pushes') }}

),

candidates as (

    select * from {{ ref('new_audience_candidates') }}

)

select pushes.user_id
from pushes
left join candidates on pushes.user_id = candidates.user_id
where candidates.user_id is null
