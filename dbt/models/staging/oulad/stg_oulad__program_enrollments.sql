-- Students of the university, with their first presentation period. Grain: one row per source × student.
with enrollments as (
    select * from {{ ref("stg_oulad__course_enrollments") }}
),

final as (
    select
        source,
        learner_id,
        'open_university' as program_id,
        -- Codes such as 2013B and 2013J sort in the order of time.
        min(term_id) as first_term_id
    from enrollments
    group by source, learner_id
)

{{ canonical_select(
    "final", "program_enrollments", absent=["admitted_on", "completed_on", "leave_from_on", "leave_to_on"]
) }}
