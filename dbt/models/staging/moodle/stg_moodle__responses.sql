-- Answers to questions of quizzes. Grain: one row per source × learner × question × version × quiz and attempt.
with final as (
    select * from {{ ref("int_moodle__answers") }}
)

{{ canonical_select("final", "responses") }}
