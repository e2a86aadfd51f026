-- Enrollments in courses, and how they ended. Grain: one row per source × learner × course × term × enrollment.
with enrollments as (
    {{ deduplicated("raw_campus", "course_enrollments") }}
),

final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        row_number() over (
            partition by source, learner_id, course_id, term_id
            order by enrolled_at
        ) as registration_number,
        enrolled_at as registered_at,
        dropped_on as unregistered_on,
        completed_on,
        is_paid,
        -- Who leaves after the completion has completed.
        case
            when completed_on is not null then 'pass'
            when dropped_on is not null then 'withdrawn'
            when final_grade is not null then 'fail'
        end as outcome,
        final_grade / 100 as final_grade_share
    from enrollments
)

{{ canonical_select(
    "final", "course_enrollments", absent=["registered_on", "studied_credits", "previous_attempt_count"]
) }}
