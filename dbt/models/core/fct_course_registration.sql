-- Registrations for courses: who drops a course and enters it again has two. Grain: one row per source × learner ×
-- course × term × registration.
with registrations as (
    select
        *,
        lead(registered_on) over (partition by course_enrollment_key order by registration_number) as next_registered_on
    from {{ ref("int_course_registrations_resolved") }}
    where missing_reference is null
)

select
    source,
    course_enrollment_key || ':' || registration_number as course_registration_key,
    course_enrollment_key,
    {{ entity_key(["learner_id"]) }} as learner_key,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["course_id", "term_id"]) }} as course_offering_key,
    registration_number,
    registered_on,
    -- Who leaves after the completion drops nothing.
    case when completed_on is null then unregistered_on end as unregistered_on,
    case
        when completed_on is null and unregistered_on is not null and next_registered_on is not null
            then greatest(next_registered_on, unregistered_on)
    end as returned_on,
    completed_on,
    is_paid
from registrations
