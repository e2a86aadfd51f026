-- Learners of the partner, with their first session, and those of its degree programs; when they were admitted is not
-- told. Grain: one row per source × learner × program.
with enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

offerings as (
    select * from {{ ref("stg_coursera__course_offerings") }}
),

memberships as (
    select * from {{ source("raw_coursera", "users_courses__degree_program_memberships") }}
),

taken as (
    select
        enrollments.source,
        enrollments.learner_id,
        enrollments.course_id,
        case when enrollments.term_id <> 'open' then enrollments.term_id end as term_id,
        offerings.starts_on
    from enrollments
    left join offerings
        on
            enrollments.source = offerings.source
            and enrollments.course_id = offerings.course_id
            and enrollments.term_id = offerings.term_id
),

members as (
    select
        source,
        learner_id,
        'partner' as program_id,
        term_id,
        starts_on
    from taken

    union all

    select
        memberships.source,
        memberships.user_id as learner_id,
        memberships.degree_program_id as program_id,
        taken.term_id,
        taken.starts_on
    from memberships
    left join taken
        on
            memberships.source = taken.source
            and memberships.user_id = taken.learner_id
            and memberships.course_id = taken.course_id
),

final as (
    select
        source,
        learner_id,
        program_id,
        term_id as first_term_id
    from members
    qualify row_number() over (
        partition by source, learner_id, program_id
        order by term_id is null, starts_on, term_id
    ) = 1
)

{{ canonical_select(
    "final", "program_enrollments", absent=["admitted_on", "completed_on", "leave_from_on", "leave_to_on"]
) }}
