-- One row per user without a username, a first name or a size, if these are required.
with

enriched as (

    select * from {{ ref('layer2_enriched') }}

)

select user_id
from enriched
where
    {{ var('require_complete_profile') }}
    and not (
        {{ is_not_blank('username') }}
        and {{ is_not_blank('first_name') }}
        and {{ is_not_blank('preferred_size') }}
    )
