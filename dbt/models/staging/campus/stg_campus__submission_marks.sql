-- Marks of hand-ins, one by one. Grain: one row per source × mark.
with marks as (
    {{ deduplicated("raw_campus", "submission_marks") }}
),

final as (
    select
        source,
        mark_id,
        learner_id,
        course_id,
        term_id,
        item_id,
        attempt_number,
        graded_by,
        grader_id,
        score,
        maximum_score,
        marked_at
    from marks
)

{{ canonical_select("final", "submission_marks") }}
