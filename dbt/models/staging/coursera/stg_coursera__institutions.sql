-- The partner whose export this is; it bears no name. Grain: one row per source.
with users as (
    select * from {{ source("raw_coursera", "users") }}
),

final as (
    select
        source,
        'partner' as institution_id,
        'UTC' as time_zone
    from users
    group by source
)

{{ canonical_select("final", "institutions", absent=["institution_name", "passing_share"]) }}
