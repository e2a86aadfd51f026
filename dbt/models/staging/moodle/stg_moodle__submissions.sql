-- Hand-ins of assignments, quizzes and lessons. Grain: one row per source × learner × item × attempt.
with hand_ins as (
    select * from {{ ref("int_moodle__hand_ins") }}
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

due_dates as (
    select * from {{ ref("int_moodle__due_dates") }}
),

final as (
    select
        hand_ins.source,
        hand_ins.learner_id,
        courses.course_id,
        courses.term_id,
        {{ moodle_item("hand_ins.module", "hand_ins.instance") }} as item_id,
        hand_ins.attempt_number,
        hand_ins.submitted_at,
        hand_ins.score,
        hand_ins.maximum_score,
        {{ moodle_last_day("due_dates.due_at", "courses.time_zone") }} as due_on,
        hand_ins.graded_at as grade_released_at,
        hand_ins.graded_by,
        false as is_carried_over
    from hand_ins
    left join courses
        on
            hand_ins.source = courses.source
            and hand_ins.moodle_course_id = courses.moodle_course_id
    left join due_dates
        on
            hand_ins.source = due_dates.source
            and hand_ins.module = due_dates.module
            and hand_ins.instance = due_dates.instance
            and hand_ins.learner_id = due_dates.learner_id
)

{{ canonical_select("final", "submissions", absent=["submitted_on"]) }}
