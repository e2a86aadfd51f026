-- Courses: organization and number, whatever the run. Grain: one row per source × course.
with runs as (
    select * from {{ ref("int_openedx__course_runs") }}
),

final as (
    select
        source,
        course_id,
        coalesce(course_name, course_id) as course_name,
        'module' as course_type,
        'open_edx' as program_id
    from runs
    qualify row_number() over (
        partition by source, course_id
        order by case when course_name is null then 1 else 0 end, starts_on desc, term_id asc
    ) = 1
)

{{ canonical_select("final", "courses", absent=["level", "is_required_for_progress", "language", "passing_share"]) }}
