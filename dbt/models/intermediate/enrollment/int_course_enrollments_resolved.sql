-- Course enrollments and what they refer to and do not find. Grain: one row per source × learner × course × term.
with registrations as (
    select
        *,
        row_number() over (partition by course_enrollment_key order by registration_number desc) = 1 as is_last
    from {{ ref("int_course_registrations_resolved") }}
)

-- Registered is the first time; completed is completed once ever reached; left is who has not come back.
select
    source,
    learner_id,
    course_id,
    term_id,
    min(registered_on) as registered_on,
    case when min(completed_on) is null then max(unregistered_on) filter (where is_last) end as unregistered_on,
    max(unregistered_on) filter (where completed_on is null) as last_dropped_on,
    min(completed_on) as completed_on,
    bool_or(is_paid) as is_paid,
    case
        when bool_or(outcome = 'distinction') then 'distinction'
        when bool_or(outcome = 'pass') then 'pass'
        else max(outcome) filter (where is_last)
    end as outcome,
    coalesce(
        max(final_grade_share) filter (where outcome in ('distinction', 'pass')),
        max(final_grade_share) filter (where is_last)
    ) as final_grade_share,
    max(studied_credits) filter (where registration_number = 1) as studied_credits,
    max(previous_attempt_count) filter (where registration_number = 1) as previous_attempt_count,
    course_enrollment_key,
    missing_reference
from registrations
group by
    source,
    learner_id,
    course_id,
    term_id,
    course_enrollment_key,
    missing_reference
