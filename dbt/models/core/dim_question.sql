-- Questions by version of their text. Grain: one row per source × question × version.
with questions as (
    {{ union_contracts("questions") }}
)

select
    source,
    {{ entity_key(["question_id", "question_version"]) }} as question_key,
    {{ entity_key(["course_id"]) }} as course_key,
    question_id,
    question_version,
    item_id,
    maximum_score
from questions
