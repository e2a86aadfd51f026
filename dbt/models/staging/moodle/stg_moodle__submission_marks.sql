-- Grades of assignments, with who gave them. Grain: one row per source × grade.
with hand_ins as (
    select * from {{ ref("int_moodle__hand_ins") }}
    where
        grade_id is not null
        and mark is not null
        and maximum_score is not null
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

final as (
    select
        hand_ins.source,
        hand_ins.grade_id as mark_id,
        hand_ins.learner_id,
        courses.course_id,
        courses.term_id,
        {{ moodle_item("hand_ins.module", "hand_ins.instance") }} as item_id,
        hand_ins.attempt_number,
        hand_ins.graded_by,
        hand_ins.grader_id,
        hand_ins.mark as score,
        hand_ins.maximum_score,
        hand_ins.graded_at as marked_at
    from hand_ins
    left join courses
        on
            hand_ins.source = courses.source
            and hand_ins.moodle_course_id = courses.moodle_course_id
)

{{ canonical_select("final", "submission_marks") }}
