-- Answers to questions and what they refer to and do not find. Grain: one row per source × answer.
with responses as (
    {{ union_contracts("responses") }}
),

learners as (
    {{ union_contracts("learners") }}
),

questions as (
    {{ union_contracts("questions") }}
)

select
    responses.*,
    case
        when learners.learner_id is null then 'learners'
        when questions.question_id is null then 'questions'
    end as missing_reference
from responses
left join learners
    on
        responses.source = learners.source
        and responses.learner_id = learners.learner_id
left join questions
    on
        responses.source = questions.source
        and responses.question_id = questions.question_id
        and responses.question_version = questions.question_version
