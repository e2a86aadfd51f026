-- Courses; a run of a course is one of its own. Grain: one row per source × course.
with courses as (
    select * from (
        {{ deduplicated("raw_canvas", "courses") }}
    ) as latest
    where action <> 'D'
),

programs as (
    select * from {{ ref("stg_canvas__programs") }}
),

final as (
    select
        courses.source,
        courses.id as course_id,
        courses.name as course_name,
        'module' as course_type,
        programs.program_id
    from courses
    inner join programs
        on courses.source = programs.source
    where courses.workflow_state <> 'deleted'
)

{{ canonical_select(
    "final", "courses", absent=["level", "is_required_for_progress", "language", "passing_share"]
) }}
