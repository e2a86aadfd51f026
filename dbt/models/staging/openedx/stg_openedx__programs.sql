-- One program that stands for the whole site, since Open edX knows no degrees. Grain: one row per source.
with runs as (
    select * from {{ ref("int_openedx__course_runs") }}
),

final as (
    select
        source,
        'open_edx' as program_id,
        'Open edX' as program_name,
        'university' as program_type
    from runs
    group by source
)

{{ canonical_select(
    "final",
    "programs",
    absent=["university_name", "level", "terms_per_year", "terms_may_be_missed", "time_zone", "passing_share"]
) }}
