-- Which skills a course teaches. Grain: one row per source × course × skill.
with course_skills as (
    {{ union_contracts("course_skills") }}
)

select
    source,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["skill_id"]) }} as skill_key
from course_skills
