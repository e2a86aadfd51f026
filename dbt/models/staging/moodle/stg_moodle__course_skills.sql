-- Skills that courses teach, as the institution told. Grain: one row per source × course × skill.
with course_skills as (
    {{ deduplicated("raw_moodle", "course_skills") }}
),

courses as (
    select * from {{ ref("stg_moodle__courses") }}
),

final as (
    select course_skills.*
    from course_skills
    inner join courses
        on
            course_skills.source = courses.source
            and course_skills.course_id = courses.course_id
)

{{ canonical_select("final", "course_skills") }}
