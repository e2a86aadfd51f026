-- Answers to questions. Grain: one row per source × learner × question × version × attempt × time.
with responses as (
    select * from {{ ref("int_responses_resolved") }}
    where missing_reference is null
)

select
    source,
    {{ entity_key(["learner_id"]) }} as learner_key,
    {{ entity_key(["question_id", "question_version"]) }} as question_key,
    {{ entity_key(["course_id"]) }} as course_key,
    item_id,
    attempt_number,
    answered_at,
    answered_on,
    score,
    maximum_score,
    score / maximum_score as score_share
from responses
