-- Learners in programs. Grain: one row per source × learner × program.
with enrollments as (
    select * from {{ ref("int_program_enrollments_resolved") }}
    where missing_reference is null
)

select
    source,
    program_enrollment_key,
    {{ entity_key(["learner_id"]) }} as learner_key,
    {{ entity_key(["program_id"]) }} as program_key,
    {{ entity_key(["program_id", "first_term_id"]) }} as first_term_key,
    admitted_on,
    completed_on,
    leave_from_on,
    leave_to_on
from enrollments
