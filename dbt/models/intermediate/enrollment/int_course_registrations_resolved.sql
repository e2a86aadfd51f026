-- Registrations for courses and what they refer to and do not find. Grain: one row per source × learner × course × term
-- × registration.
with enrollments as (
    {{ union_contracts("course_enrollments") }}
),

learners as (
    {{ union_contracts("learners") }}
),

offerings as (
    {{ union_contracts("course_offerings") }}
)

select
    enrollments.*,
    {{ entity_key(["learner_id", "course_id", "term_id"], "enrollments") }} as course_enrollment_key,
    case
        when learners.learner_id is null then 'learners'
        when offerings.course_id is null then 'course_offerings'
    end as missing_reference
from enrollments
left join learners
    on
        enrollments.source = learners.source
        and enrollments.learner_id = learners.learner_id
left join offerings
    on
        enrollments.source = offerings.source
        and enrollments.course_id = offerings.course_id
        and enrollments.term_id = offerings.term_id
