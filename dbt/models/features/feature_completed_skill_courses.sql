-- Courses that learners have passed, by skill that they teach. Grain: one row per course enrollment and skill.

with enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

course_skills as (
    select * from {{ ref("dim_course_skill") }}
),

final as (
    select
        enrollments.course_enrollment_key,
        course_skills.skill_key,
        enrollments.learner_key,
        enrollments.course_key,
        -- What was learned was learned when the course ended, not when a board has met.
        coalesce(enrollments.completed_on, offerings.ends_on, enrollments.outcome_known_on) as learned_on,
        enrollments.outcome_known_on
    from enrollments
    inner join course_skills on enrollments.course_key = course_skills.course_key
    left join offerings on enrollments.course_offering_key = offerings.course_offering_key
    where enrollments.outcome in ('pass', 'distinction')
)

select * from final
