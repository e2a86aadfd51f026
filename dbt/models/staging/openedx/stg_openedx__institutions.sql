-- The site. Grain: one row per source.
with final as (
    select
        source,
        program_id as institution_id
    from {{ ref("stg_openedx__programs") }}
)

{{ canonical_select("final", "institutions", absent=["institution_name", "time_zone", "passing_share"]) }}
