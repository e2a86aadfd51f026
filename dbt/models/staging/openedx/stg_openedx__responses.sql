-- Answers to questions. Grain: one row per source × learner × question × attempt × time.
with final as (
    select
        *,
        1 as question_version,
        block_id as item_id,
        occurred_at as answered_at
    from {{ ref("int_openedx__questions_answered") }}
)

{{ canonical_select("final", "responses") }}
