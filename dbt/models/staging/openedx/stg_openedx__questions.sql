-- Questions that were answered. Grain: one row per source × question.
with final as (
    select
        source,
        question_id,
        1 as question_version,
        min(course_id) as course_id,
        min(block_id) as item_id,
        max(maximum_score) as maximum_score
    from {{ ref("int_openedx__questions_answered") }}
    group by source, question_id
)

{{ canonical_select("final", "questions") }}
