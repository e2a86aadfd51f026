-- Courses, by the name of their newest run. Grain: one row per source × course.
with runs as (
    select * from {{ ref("int_moodle__courses") }}
),

final as (
    select *
    from runs
    qualify row_number() over (partition by source, course_id order by starts_on desc, moodle_course_id desc) = 1
)

{{ canonical_select("final", "courses", absent=["level", "is_required_for_progress", "passing_share"]) }}
