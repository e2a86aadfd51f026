-- One program that stands for the university, since the data name no degrees. Grain: one row per source.
with offerings as (
    select * from {{ ref("stg_oulad__course_offerings") }}
),

final as (
    select
        source,
        'open_university' as program_id,
        'The Open University' as program_name,
        'The Open University' as university_name,
        'university' as program_type,
        2 as terms_per_year
    from offerings
    group by source
)

{{ canonical_select("final", "programs", absent=["level", "terms_may_be_missed", "time_zone", "passing_share"]) }}
