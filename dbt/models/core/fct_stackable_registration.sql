-- Registrations for open courses that stacked into a program when they were made. Grain: one row per source ×
-- registration × program.
with shared_content as (
    select * from {{ ref("dim_shared_content") }}
    where is_stackable
),

registrations as (
    select
        registrations.source,
        registrations.course_registration_key,
        registrations.learner_key,
        registrations.registered_on,
        dim_course_offering.course_version_key
    from {{ ref("fct_course_registration") }} as registrations
    inner join {{ ref("dim_course_offering") }} as dim_course_offering
        on registrations.course_offering_key = dim_course_offering.course_offering_key
)

select distinct
    registrations.source,
    registrations.course_registration_key,
    registrations.learner_key,
    program_courses.program_key
from registrations
inner join shared_content
    on
        registrations.course_version_key = shared_content.open_course_version_key
        and registrations.registered_on >= coalesce(shared_content.taught_from_on, registrations.registered_on)
        and registrations.registered_on <= coalesce(shared_content.taught_to_on, registrations.registered_on)
inner join {{ ref("dim_program_course") }} as program_courses
    on shared_content.course_key = program_courses.course_key
