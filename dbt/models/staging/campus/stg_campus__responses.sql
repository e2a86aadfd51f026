-- Answers to questions. Grain: one row per source × answer.
with responses as (
    {{ deduplicated("raw_campus", "responses") }}
),

final as (
    select
        source,
        learner_id,
        question_id,
        question_version,
        attempt_number,
        course_id,
        item_id,
        answered_at,
        score,
        maximum_score
    from responses
)

{{ canonical_select("final", "responses") }}
