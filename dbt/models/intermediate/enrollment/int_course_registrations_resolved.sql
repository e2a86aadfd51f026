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
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
)

select
    enrollments.source,
    enrollments.learner_id,
    enrollments.course_id,
    enrollments.term_id,
    enrollments.registration_number,
    coalesce({{ local_date("enrollments.registered_at", "courses.time_zone") }}, enrollments.registered_on)
        as registered_on,
    enrollments.unregistered_on,
    enrollments.completed_on,
    enrollments.is_paid,
    enrollments.outcome,
    enrollments.final_grade_share,
    enrollments.studied_credits,
    enrollments.previous_attempt_count,
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
left join courses
    on
        enrollments.source = courses.source
        and enrollments.course_id = courses.course_id
