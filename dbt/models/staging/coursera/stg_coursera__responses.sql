-- Answers to questions in submissions of quizzes; without a score they are surveys. Grain: one row per source × answer.
with answers as (
    {{ deduplicated("raw_coursera", "assessment_responses") }}
),

actions as (
    {{ deduplicated("raw_coursera", "assessment_actions") }}
),

questions as (
    select * from {{ ref("stg_coursera__questions") }}
),

scored as (
    select
        answers.source,
        actions.user_id as learner_id,
        {{ coursera_base("answers.assessment_question_id") }} as question_id,
        {{ coursera_version("answers.assessment_question_id") }} as question_version,
        answers.assessment_response_id,
        actions.assessment_action_ts as answered_at,
        answers.assessment_response_score as score
    from answers
    inner join actions
        on
            answers.source = actions.source
            and answers.assessment_action_id = actions.assessment_action_id
    where
        actions.user_id is not null
        and answers.assessment_response_score is not null
),

final as (
    select
        scored.source,
        scored.learner_id,
        scored.question_id,
        scored.question_version,
        row_number() over (
            partition by scored.source, scored.learner_id, scored.question_id, scored.question_version
            order by scored.answered_at, scored.assessment_response_id
        ) as attempt_number,
        questions.course_id,
        questions.item_id,
        scored.answered_at,
        scored.score,
        1 as maximum_score
    from scored
    left join questions
        on
            scored.source = questions.source
            and scored.question_id = questions.question_id
            and scored.question_version = questions.question_version
)

{{ canonical_select("final", "responses") }}
