-- Learners in course offerings, with how it ended. Grain: one row per source × learner × course × term.
with enrollments as (
    select * from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
)

select
    enrollments.source,
    enrollments.course_enrollment_key,
    {{ entity_key(["learner_id"], "enrollments") }} as learner_key,
    offerings.course_offering_key,
    offerings.course_key,
    offerings.program_key,
    offerings.term_key,
    enrollments.registered_on,
    enrollments.unregistered_on,
    enrollments.last_dropped_on,
    enrollments.completed_on,
    enrollments.is_paid,
    enrollments.outcome,
    -- Where no date says when a result became known, it is assumed: boards confirm it some weeks after the end.
    case
        when enrollments.outcome = 'withdrawn' then coalesce(enrollments.unregistered_on, offerings.ends_on)
        when enrollments.outcome is not null then coalesce(
            enrollments.completed_on,
            {{ add_days("offerings.ends_on", var("assumed_grading_days")["board"]) }}
        )
    end as outcome_known_on,
    enrollments.final_grade_share,
    enrollments.studied_credits,
    enrollments.previous_attempt_count
from enrollments
inner join offerings
    on
        enrollments.source = offerings.source
        and enrollments.course_id = offerings.course_id
        and enrollments.term_id = offerings.term_id
