-- Answers to questions: of a problem of several questions one each, and never the problem beside them. Grain: one row
-- per source × learner × question × time.
{{ config(materialized="table", contract={"enforced": false}) }}

with events as (
    select * from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind in ('problem_checked', 'question_answered')
),

single_questions as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        block_id,
        block_id as question_id,
        attempt_number,
        occurred_at,
        coalesce(case when maximum_score > 0 then score end, case when is_correct then 1 else 0 end) as score,
        coalesce(case when maximum_score > 0 then maximum_score end, 1) as maximum_score
    from events
    where
        kind = 'problem_checked'
        and not is_group
),

-- Statements have one for each question.
told_singly as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        block_id,
        object_id as question_id,
        attempt_number,
        occurred_at,
        case when is_correct then 1 else 0 end as score,
        1 as maximum_score
    from events
    where kind = 'question_answered'
),

-- A line of the log has all of them, named by the bare id of the block and the place of the question.
told_together as (
    select
        events.source,
        events.learner_id,
        events.course_id,
        events.term_id,
        events.block_id,
        events.block_id || regexp_extract(questions.question, '(_[0-9]+_[0-9]+)$', 1) as question_id,
        events.attempt_number,
        events.occurred_at,
        {% set told = json_text("events.correct_map", "questions.question") -%}
        case when {{ json_text(told, "'correctness'") }} = 'correct' then 1 else 0 end as score,
        1 as maximum_score
    from events
    cross join {{ elements_of(json_object_keys("events.correct_map"), "questions", "question") }}
    where
        events.kind = 'problem_checked'
        and events.is_group
        and events.correct_map is not null
),

answers as (
    select * from single_questions
    union all
    select * from told_singly
    union all
    select * from told_together
),

-- The same answer, out of a log and as a statement; the log knows the attempt.
answered as (
    select * from answers
    where
        course_id is not null
        and question_id is not null
    qualify row_number() over (
        partition by source, learner_id, course_id, term_id, question_id, occurred_at
        order by attempt_number asc nulls last, score desc
    ) = 1
),

-- A learner's answers to a question are numbered where only statements tell of them.
numbered as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        block_id,
        question_id,
        coalesce(
            attempt_number,
            row_number() over (
                partition by source, learner_id, course_id, term_id, question_id
                order by occurred_at
            )
        ) as attempt_number,
        occurred_at,
        score,
        maximum_score
    from answered
)

select * from numbered
