-- One row per deleted user: few, so that what they own is sorted out faster by them than by all
-- who are left.
select id as user_id
from {{ source('marketplace', 'users') }}
-- 0 = never deleted
where deleted_at <> 0
