-- Learners in programs. Grain: one row per source × learner × program.
with enrollments as (
    {{ union_contracts("program_enrollments") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

terms as (
    select * from {{ ref("dim_term") }}
)

select
    enrollments.source,
    {{ entity_key(["learner_id", "program_id"], "enrollments") }} as program_enrollment_key,
    learners.learner_key,
    terms.program_key,
    terms.term_key as first_term_key,
    enrollments.admitted_on
from enrollments
inner join learners
    on
        enrollments.source = learners.source
        and enrollments.learner_id = learners.learner_id
inner join terms
    on
        enrollments.source = terms.source
        and {{ entity_key(["program_id", "first_term_id"], "enrollments") }} = terms.term_key
