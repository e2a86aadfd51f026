-- Degree programs. Grain: one row per source × program.
with programs as (
    {{ deduplicated("raw_campus", "programs") }}
),

final as (
    select
        source,
        program_id,
        program_name,
        university_name,
        'degree' as program_type,
        level,
        terms_per_year,
        terms_may_be_missed,
        time_zone,
        passing_share
    from programs
)

{{ canonical_select("final", "programs") }}
