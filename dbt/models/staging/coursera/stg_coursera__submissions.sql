-- Submissions of quizzes, hand-ins to peers and programs, and grades of items that tell no hand-in. Grain: one row per
-- source × learner × item × attempt.
with enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

items as (
    select * from {{ ref("stg_coursera__course_items") }}
),

actions as (
    {{ deduplicated("raw_coursera", "assessment_actions") }}
),

answers as (
    {{ deduplicated("raw_coursera", "assessment_responses") }}
),

weights as (
    select * from {{ source("raw_coursera", "assessment_assessments_questions") }}
),

peer_submissions as (
    {{ deduplicated("raw_coursera", "peer_submissions") }}
),

peer_assignments as (
    {{ deduplicated("raw_coursera", "peer_assignments") }}
),

programs as (
    {{ deduplicated("raw_coursera", "programming_submissions") }}
),

item_grades as (
    select * from {{ source("raw_coursera", "course_item_grades") }}
),

item_of_quiz as (
    {{ coursera_items_of("assessment_id", "course_branch_item_assessments", "course_item_assessments") }}
),

item_of_peer_assignment as (
    {{ coursera_items_of(
        "peer_assignment_id", "course_branch_item_peer_assignments", "course_item_peer_assignments"
    ) }}
),

item_of_program as (
    {{ coursera_items_of(
        "programming_assignment_id",
        "course_branch_item_programming_assignments",
        "course_item_programming_assignments",
    ) }}
),

question_weights as (
    select
        source,
        assessment_id,
        assessment_question_id,
        max(coalesce(assessment_question_weight, 1)) as weight
    from weights
    group by source, assessment_id, assessment_question_id
),

quiz_scores as (
    select
        answers.source,
        answers.assessment_action_id,
        sum(answers.assessment_response_score * coalesce(question_weights.weight, 1)) as score,
        sum(coalesce(question_weights.weight, 1)) as maximum_score
    from answers
    left join question_weights
        on
            answers.source = question_weights.source
            and answers.assessment_id = question_weights.assessment_id
            and answers.assessment_question_id = question_weights.assessment_question_id
    where answers.assessment_response_score is not null
    group by answers.source, answers.assessment_action_id
),

handed_in as (
    select
        actions.source,
        actions.user_id,
        item_of_quiz.course_id,
        item_of_quiz.item_id,
        actions.assessment_action_id as hand_in_id,
        actions.assessment_action_ts as submitted_at,
        quiz_scores.score,
        quiz_scores.maximum_score,
        actions.assessment_action_ts as grade_released_at,
        'automatic' as graded_by
    from actions
    inner join quiz_scores
        on
            actions.source = quiz_scores.source
            and actions.assessment_action_id = quiz_scores.assessment_action_id
    left join item_of_quiz
        on
            actions.source = item_of_quiz.source
            and actions.assessment_id = item_of_quiz.assessment_id
    where actions.user_id is not null

    union all

    select
        peer_submissions.source,
        peer_submissions.user_id,
        item_of_peer_assignment.course_id,
        item_of_peer_assignment.item_id,
        peer_submissions.peer_submission_id as hand_in_id,
        peer_submissions.peer_submission_created_ts as submitted_at,
        peer_submissions.peer_submission_score as score,
        peer_assignments.peer_assignment_maximum_score as maximum_score,
        peer_submissions.peer_submission_score_available_ts as grade_released_at,
        case when peer_submissions.peer_submission_is_mentor_graded then 'staff' else 'peer' end as graded_by
    from peer_submissions
    left join peer_assignments
        on
            peer_submissions.source = peer_assignments.source
            and peer_submissions.peer_assignment_id = peer_assignments.peer_assignment_id
    left join item_of_peer_assignment
        on
            peer_submissions.source = item_of_peer_assignment.source
            and peer_submissions.peer_assignment_id = item_of_peer_assignment.peer_assignment_id
    where not coalesce(peer_submissions.peer_submission_is_draft, false)

    union all

    select
        programs.source,
        programs.user_id,
        item_of_program.course_id,
        item_of_program.item_id,
        programs.programming_submission_id as hand_in_id,
        programs.programming_submission_created_ts as submitted_at,
        programs.programming_submission_score as score,
        100 as maximum_score,
        programs.programming_submission_created_ts as grade_released_at,
        'automatic' as graded_by
    from programs
    left join item_of_program
        on
            programs.source = item_of_program.source
            and programs.programming_assignment_id = item_of_program.programming_assignment_id
),

kinds as (
    select
        source,
        course_id,
        item_id,
        max(kind) as kind
    from items
    group by source, course_id, item_id
),

-- Staff-graded work, tools of others and the like: the export has their grade and no hand-in of a learner.
graded as (
    select
        item_grades.source,
        item_grades.user_id,
        item_grades.course_id,
        item_grades.course_item_id as item_id,
        '' as hand_in_id,
        max(item_grades.course_item_grade_ts) as submitted_at,
        max(item_grades.course_item_grade_overall) as score,
        1 as maximum_score,
        max(item_grades.course_item_grade_ts) as grade_released_at,
        case max(kinds.kind) when 'staff_graded' then 'staff' when 'peer_graded' then 'peer' else 'automatic' end
            as graded_by
    from item_grades
    left join kinds
        on
            item_grades.source = kinds.source
            and item_grades.course_id = kinds.course_id
            and item_grades.course_item_id = kinds.item_id
    where (item_grades.source, item_grades.user_id, item_grades.course_id, item_grades.course_item_id) not in (
        select
            handed_in.source,
            handed_in.user_id,
            handed_in.course_id,
            handed_in.item_id
        from handed_in
        where handed_in.item_id is not null
    )
    group by item_grades.source, item_grades.user_id, item_grades.course_id, item_grades.course_item_id
),

together as (
    select * from handed_in
    union all
    select * from graded
),

final as (
    select
        together.source,
        together.user_id as learner_id,
        together.course_id,
        coalesce(enrollments.term_id, 'open') as term_id,
        together.item_id,
        row_number() over (
            partition by together.source, together.user_id, together.course_id, together.item_id
            order by together.submitted_at, together.hand_in_id
        ) as attempt_number,
        together.submitted_at,
        together.score,
        together.maximum_score,
        together.grade_released_at,
        together.graded_by,
        false as is_carried_over
    from together
    left join enrollments
        on
            together.source = enrollments.source
            and together.user_id = enrollments.learner_id
            and together.course_id = enrollments.course_id
)

{{ canonical_select("final", "submissions", absent=["due_on", "submitted_on"]) }}
