-- Runs of courses, with their dates. Grain: one row per source × course × term.
with final as (
    select
        *,
        moodle_course_id as version_id
    from {{ ref("int_moodle__courses") }}
)

{{ canonical_select("final", "course_offerings") }}
