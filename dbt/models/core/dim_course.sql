-- Courses of all sources. Grain: one row per source × course.
with courses as (
    {{ union_contracts("courses") }}
)

select
    source,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["program_id"]) }} as program_key,
    course_id,
    course_name,
    course_type,
    level,
    is_required_for_progress,
    language
from courses
