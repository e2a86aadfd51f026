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
        cast(submitted_at as date) as submitted_on,
        score,
        maximum_score,
        cast(grade_released_at as date) as grade_released_on,
        graded_by,
        false as is_carried_over
    from submissions
)

{{ canonical_select("final", "submissions") }}
