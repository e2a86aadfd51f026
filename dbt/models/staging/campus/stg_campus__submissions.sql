-- Hand-ins of graded items. Grain: one row per source × learner × item × attempt.
with submissions as (
    {{ deduplicated("raw_campus", "submissions") }}
),

final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        attempt_number,
        submitted_at,
        score,
        maximum_score,
        grade_released_at,
        graded_by,
        false as is_carried_over
    from submissions
)

{{ canonical_select("final", "submissions", absent=["due_on", "submitted_on"]) }}
