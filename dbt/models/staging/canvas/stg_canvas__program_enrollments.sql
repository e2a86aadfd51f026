-- Learners of the institution, with their first term. Grain: one row per source × learner.
with enrollments as (
    select * from {{ ref("stg_canvas__course_enrollments") }}
),

programs as (
    select * from {{ ref("stg_canvas__programs") }}
),

terms as (
    select * from {{ ref("stg_canvas__terms") }}
),

final as (
    select
        enrollments.source,
        enrollments.learner_id,
        programs.program_id,
        min_by(enrollments.term_id, terms.starts_on) as first_term_id
    from enrollments
    inner join programs
        on enrollments.source = programs.source
    left join terms
        on
            enrollments.source = terms.source
            and enrollments.term_id = terms.term_id
    group by enrollments.source, enrollments.learner_id, programs.program_id
)

{{ canonical_select(
    "final", "program_enrollments", absent=["admitted_on", "completed_on", "leave_from_on", "leave_to_on"]
) }}
