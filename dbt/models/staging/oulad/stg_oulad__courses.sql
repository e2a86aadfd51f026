-- Modules. Grain: one row per source × module.
with courses as (
    {{ deduplicated("raw_oulad", "courses") }}
),

final as (
    select
        source,
        code_module as course_id,
        code_module as course_name,
        'module' as course_type,
        'open_university' as program_id
    from courses
    group by source, code_module
)

{{ canonical_select("final", "courses", absent=["level", "is_required_for_progress", "language", "passing_share"]) }}
