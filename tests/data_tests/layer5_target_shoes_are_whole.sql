-- One row per user whose target shoe has a name without a variant, or a variant without a name.
with

no_offers as (

    select * from {{ ref('layer5_no_offers') }}

),

no_wishlist as (

    select * from {{ ref('layer5_no_wishlist') }}

),

new_stars as (

    select * from {{ ref('layer5_new_stars') }}

),

targets as (

    select
        user_id,
        top_target_shoe,
        top_target_shoe_variantid
    from no_offers

    union all

    select
        user_id,
        top_target_shoe,
        top_target_shoe_variantid
    from no_wishlist

    union all

    select
        user_id,
        top_target_shoe,
        top_target_shoe_variantid
    from new_stars

)

select
    user_id,
    top_target_shoe,
    top_target_shoe_variantid
from targets
-- an empty name is an empty field of the file, as none is
where (coalesce(top_target_shoe, '') = '') <> (top_target_shoe_variantid is null)
