-- Learners of the site, with the run in which they began. Grain: one row per source × learner.
with enrollments as (
    select * from {{ ref("stg_openedx__course_enrollments") }}
),

final as (
    select
        source,
        learner_id,
        'open_edx' as program_id,
        term_id as first_term_id
    from enrollments
    qualify row_number() over (partition by source, learner_id order by registered_at, term_id, course_id) = 1
)

{{ canonical_select(
    "final", "program_enrollments", absent=["admitted_on", "completed_on", "leave_from_on", "leave_to_on"]
) }}
