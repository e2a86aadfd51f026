-- What learners handed in: assignments, quizzes, lessons. Grain: one row per source × learner × activity × attempt.
{{ config(materialized="table", contract={"enforced": false}) }}

with hand_ins as (
    {{ deduplicated("raw_moodle", "assign_submission") }}
),

members as (
    {{ deduplicated("raw_moodle", "groups_members") }}
),

grades as (
    {{ deduplicated("raw_moodle", "assign_grades") }}
),

attempts as (
    {{ deduplicated("raw_moodle", "quiz_attempts") }}
),

asked as (
    {{ deduplicated("raw_moodle", "question_attempts") }}
),

steps as (
    {{ deduplicated("raw_moodle", "question_attempt_steps") }}
),

quizzes as (
    {{ deduplicated("raw_moodle", "quiz") }}
),

quiz_grades as (
    {{ deduplicated("raw_moodle", "quiz_grades") }}
),

passes as (
    {{ deduplicated("raw_moodle", "lesson_grades") }}
),

-- What a group hands in each of its members hands in.
of_learners as (
    select
        hand_ins.source,
        hand_ins.assignment,
        coalesce(hand_ins.userid, members.userid) as userid,
        hand_ins.attemptnumber,
        hand_ins.timemodified
    from hand_ins
    left join members
        on
            hand_ins.source = members.source
            and hand_ins.groupid = members.groupid
            and hand_ins.userid is null
    where
        lower(hand_ins.status) = 'submitted'
        and coalesce(hand_ins.userid, members.userid) is not null
),

-- Of two hand-ins of one attempt, a learner's own and the group's, the later counts.
handed_in as (
    select *
    from of_learners
    qualify row_number() over (
        partition by source, assignment, userid, attemptnumber
        order by timemodified desc
    ) = 1
),

-- Quizzes with questions that staff grade are done when the last of these is.
graded_by_staff as (
    select
        asked.source,
        asked.questionusageid,
        max(steps.timecreated) as graded_at
    from asked
    inner join steps
        on
            asked.source = steps.source
            and asked.id = steps.questionattemptid
    where steps.state like 'mangr%'
    group by asked.source, asked.questionusageid
),

together as (
    select
        handed_in.source,
        'assign' as module,
        handed_in.assignment as instance,
        handed_in.userid as learner_id,
        -- Moodle counts attempts from 0, some exports from 1.
        row_number() over (
            partition by handed_in.source, handed_in.assignment, handed_in.userid
            order by handed_in.attemptnumber
        ) as attempt_number,
        handed_in.timemodified as submitted_at,
        case when grades.grade >= 0 then grades.grade end as mark,
        case when grades.grade >= 0 then grades.timemodified end as graded_at,
        'staff' as graded_by,
        grades.id as grade_id,
        grades.grader as grader_id,
        null as questionusageid
    from handed_in
    left join grades
        on
            handed_in.source = grades.source
            and handed_in.assignment = grades.assignment
            and handed_in.userid = grades.userid
            and handed_in.attemptnumber = grades.attemptnumber

    union all

    select
        attempts.source,
        'quiz' as module,
        attempts.quiz as instance,
        attempts.userid as learner_id,
        attempts.attempt as attempt_number,
        attempts.timefinish as submitted_at,
        attempts.sumgrades as mark,
        graded_by_staff.graded_at,
        case when graded_by_staff.graded_at is null then 'automatic' else 'staff' end as graded_by,
        null as grade_id,
        null as grader_id,
        attempts.uniqueid as questionusageid
    from attempts
    left join graded_by_staff
        on
            attempts.source = graded_by_staff.source
            and attempts.uniqueid = graded_by_staff.questionusageid
    -- Abandoned attempts were never handed in.
    where
        lower(attempts.state) in ('submitted', 'finished')
        and coalesce(attempts.preview, 0) = 0

    union all

    select
        source,
        'lesson' as module,
        lessonid as instance,
        userid as learner_id,
        row_number() over (partition by source, lessonid, userid order by completed, id) as attempt_number,
        completed as submitted_at,
        grade as mark,
        null as graded_at,
        'automatic' as graded_by,
        null as grade_id,
        null as grader_id,
        null as questionusageid
    from passes
),

items as (
    select * from {{ ref("int_moodle__items") }}
),

ordered as (
    select
        together.*,
        coalesce(quizzes.grademethod, 1) as grading_method,
        quiz_grades.grade * quizzes.sumgrades / nullif(quizzes.grade, 0) as told_result,
        min(case when together.module = 'assign' then together.graded_at end) over (
            partition by together.source, together.module, together.instance, together.learner_id
            order by together.attempt_number
            rows between 1 following and unbounded following
        ) as later_attempt_graded_at,
        -- Attempts at a quiz in the order in which their marks were known.
        row_number() over (
            partition by together.source, together.module, together.instance, together.learner_id
            order by
                case when together.mark is null then 1 else 0 end,
                coalesce(together.graded_at, together.submitted_at),
                together.attempt_number
        ) as place
    from together
    left join quizzes
        on
            together.source = quizzes.source
            and together.module = 'quiz'
            and together.instance = quizzes.id
    left join quiz_grades
        on
            together.source = quiz_grades.source
            and together.module = 'quiz'
            and together.instance = quiz_grades.quiz
            and together.learner_id = quiz_grades.userid
),

compared as (
    select
        *,
        max(mark) over (
            partition by source, module, instance, learner_id
            order by place
            rows between unbounded preceding and 1 preceding
        ) as best_before,
        avg(mark) over (
            partition by source, module, instance, learner_id
            order by place
            rows between unbounded preceding and current row
        ) as mean_so_far,
        min(case when mark is not null then attempt_number end) over (
            partition by source, module, instance, learner_id
        ) as first_marked,
        max(case when mark is not null then attempt_number end) over (
            partition by source, module, instance, learner_id
            order by place
            rows between unbounded preceding and 1 preceding
        ) as last_before
    from ordered
),

-- The score known last is the result of the item, so that an attempt has one only where it changes the result.
scored as (
    select
        *,
        case
            -- An assignment has the grade of its last attempt, also where staff grade an earlier one once more.
            when module = 'assign' then case when graded_at > later_attempt_graded_at then null else mark end
            when module <> 'quiz' or mark is null then mark
            when grading_method = 2 then mean_so_far
            when grading_method = 3 then case when attempt_number = first_marked then mark end
            when grading_method = 4 then case when last_before > attempt_number then null else mark end
            when best_before >= mark then null
            else mark
        end as score_by_method
    from compared
),

results as (
    select
        *,
        score_by_method is not null
        and place = max(case when score_by_method is not null then place end) over (
            partition by source, module, instance, learner_id
        ) as is_result
    from scored
),

people as (
    select
        source,
        learner_id,
        moodle_course_id,
        bool_or(is_learner) as is_learner
    from {{ ref("int_moodle__registrations") }}
    group by source, learner_id, moodle_course_id
)

-- What teachers hand in to try an activity is nobody's work. An unknown activity leaves the course empty: core holds
-- the row until the activity arrives.
select
    results.source,
    results.module,
    results.instance,
    results.learner_id,
    results.attempt_number,
    results.submitted_at,
    results.mark,
    coalesce(case when results.is_result then results.told_result end, results.score_by_method) as score,
    results.graded_at,
    results.graded_by,
    results.grade_id,
    results.grader_id,
    results.questionusageid,
    items.moodle_course_id,
    items.maximum_score
from results
left join items
    on
        results.source = items.source
        and results.module = items.module
        and results.instance = items.instance
left join people
    on
        results.source = people.source
        and results.learner_id = people.learner_id
        and items.moodle_course_id = people.moodle_course_id
where coalesce(people.is_learner, true)
