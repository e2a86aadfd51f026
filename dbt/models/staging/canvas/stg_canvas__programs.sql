-- One program that stands for the institution. Grain: one row per source.
with institutions as (
    select * from {{ ref("stg_canvas__institutions") }}
),

final as (
    select
        source,
        institution_id as program_id,
        coalesce(institution_name, 'All courses') as program_name,
        institution_name as university_name,
        'university' as program_type
    from institutions
)

{{ canonical_select("final", "programs", absent=[
    "level", "terms_per_year", "terms_may_be_missed", "time_zone", "passing_share",
]) }}
