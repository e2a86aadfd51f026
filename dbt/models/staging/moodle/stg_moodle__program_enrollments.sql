-- Learners in programs, with the term of their first course. Grain: one row per source × learner × program.
with members as (
    {{ deduplicated("raw_moodle", "program_members") }}
),

registrations as (
    select * from {{ ref("int_moodle__registrations") }}
    where is_learner
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
    where program_id is not null
),

sources_with_members as (
    select distinct source
    from members
),

takers as (
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
),

final as (
    select
        members.source,
        members.userid as learner_id,
        members.program_id,
        members.admitted_on,
        takers.first_term_id,
        members.completed_on,
        members.leave_from_on,
        members.leave_to_on
    from members
    left join takers
        on
            members.source = takers.source
            and members.userid = takers.learner_id
            and members.program_id = takers.program_id

    union all

    -- Where nobody says who is admitted, who takes a course of the program is.
    select
        takers.source,
        takers.learner_id,
        takers.program_id,
        null as admitted_on,
        takers.first_term_id,
        null as completed_on,
        null as leave_from_on,
        null as leave_to_on
    from takers
    left join sources_with_members
        on takers.source = sources_with_members.source
    where sources_with_members.source is null
)

{{ canonical_select("final", "program_enrollments") }}
