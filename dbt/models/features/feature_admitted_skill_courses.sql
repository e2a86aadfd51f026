-- Courses of the programs that learners are admitted to, by skill.
-- Grain: one row per program enrollment, course and skill.

with program_enrollments as (
    select * from {{ ref("fct_program_enrollment") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

course_skills as (
    select * from {{ ref("dim_course_skill") }}
),

final as (
    select
        program_enrollments.program_enrollment_key,
        course_skills.skill_key,
        program_enrollments.learner_key,
        courses.course_key
    from program_enrollments
    inner join courses on program_enrollments.program_key = courses.program_key
    inner join course_skills on courses.course_key = course_skills.course_key
)

select * from final
