-- One row per user in the file.
-- Change: the columns of the file, under the names that its header has.
with

candidates as (

    select * from {{ ref('new_audience_candidates') }}

)

select
    user_id,
    first_name as "firstName",
    created_at as "signedUp"
from candidates
-- Blanks are no name: the push would read "Hey ,".
where btrim(first_name, E' \t\r\n') <> ''
