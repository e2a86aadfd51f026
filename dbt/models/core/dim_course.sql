-- Courses of all sources. Grain: one row per source × course.
with courses as (
    {{ union_contracts("courses") }}
),

programs as (
    {{ union_contracts("programs") }}
),

institutions as (
    {{ union_contracts("institutions") }}
)

select
    courses.source,
    {{ entity_key(["course_id"], "courses") }} as course_key,
    {{ entity_key(["program_id"], "courses") }} as program_key,
    courses.course_id,
    courses.course_name,
    courses.course_type,
    courses.level,
    courses.is_required_for_progress,
    courses.language,
    coalesce(courses.passing_share, programs.passing_share, institutions.passing_share) as passing_share
from courses
left join programs
    on
        courses.source = programs.source
        and courses.program_id = programs.program_id
left join institutions
    on courses.source = institutions.source
