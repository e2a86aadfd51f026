-- First attempts at questions, by the skills that they test.
-- Grain: one row per source × learner × question version × skill.
with responses as (
    select * from {{ ref("fct_response") }}
),

questions as (
    select * from {{ ref("dim_question") }}
),

question_skills as (
    select * from {{ ref("dim_question_skill") }}
),

-- What a learner has seen once tells little the second time.
first_attempts as (
    select * from responses
    qualify row_number() over (
        partition by learner_key, question_key
        order by attempt_number, answered_at, score
    ) = 1
)

select
    first_attempts.source,
    question_skills.skill_key,
    first_attempts.learner_key,
    first_attempts.question_key,
    first_attempts.course_key,
    questions.question_id,
    questions.question_version,
    first_attempts.item_id,
    first_attempts.answered_at,
    first_attempts.answered_on,
    first_attempts.score_share,
    -- Steps of partial credit as far as they are whole points, else five categories.
    cast(
        case when questions.maximum_score between 1 and 4 then floor(questions.maximum_score) else 4 end as integer
    ) as highest_category,
    cast(
        floor(
            first_attempts.score_share
            * case when questions.maximum_score between 1 and 4 then floor(questions.maximum_score) else 4 end
            + 0.5
        ) as integer
    ) as category
from first_attempts
inner join questions
    on first_attempts.question_key = questions.question_key
inner join question_skills
    on
        questions.source = question_skills.source
        and questions.question_id = question_skills.question_id
-- Readers take one skill at a time.
order by first_attempts.source, question_skills.skill_key
