-- Learners in programs, with the term of their first course. Grain: one row per source × learner × program.
with registrations as (
    select * from {{ ref("int_moodle__registrations") }}
    where is_learner
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
    where program_id is not null
),

final as (
    select
        registrations.source,
        registrations.learner_id,
        courses.program_id,
        courses.term_id as first_term_id
    from registrations
    inner join courses
        on
            registrations.source = courses.source
            and registrations.moodle_course_id = courses.moodle_course_id
    qualify row_number() over (
        partition by registrations.source, registrations.learner_id, courses.program_id
        order by courses.starts_on, registrations.registered_at, courses.moodle_course_id
    ) = 1
)

{{ canonical_select(
    "final", "program_enrollments", absent=["admitted_on", "completed_on", "leave_from_on", "leave_to_on"]
) }}
