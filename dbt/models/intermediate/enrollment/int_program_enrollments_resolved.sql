-- Learners in programs and what they refer to and do not find. Grain: one row per source × learner × program.
with enrollments as (
    {{ union_contracts("program_enrollments") }}
),

learners as (
    {{ union_contracts("learners") }}
),

programs as (
    {{ union_contracts("programs") }}
),

terms as (
    {{ union_contracts("terms") }}
)

select
    enrollments.*,
    {{ entity_key(["learner_id", "program_id"], "enrollments") }} as program_enrollment_key,
    case
        when learners.learner_id is null then 'learners'
        when programs.program_id is null then 'programs'
        when terms.term_id is null then 'terms'
    end as missing_reference
from enrollments
left join learners
    on
        enrollments.source = learners.source
        and enrollments.learner_id = learners.learner_id
left join programs
    on
        enrollments.source = programs.source
        and enrollments.program_id = programs.program_id
left join terms
    on
        enrollments.source = terms.source
        and enrollments.program_id = terms.program_id
        and enrollments.first_term_id = terms.term_id
