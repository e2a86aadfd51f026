-- Courses that learners have passed, by skill that they teach. Grain: one row per course enrollment and skill.

with enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
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
        enrollments.outcome_known_on
    from enrollments
    inner join course_skills on enrollments.course_key = course_skills.course_key
    where enrollments.outcome in ('pass', 'distinction')
)

select * from final
