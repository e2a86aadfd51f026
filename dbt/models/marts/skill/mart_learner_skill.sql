-- What learners had to do with a skill: answers, courses that teach it. Grain: one row per source × learner × skill.
with responses as (
    select * from {{ ref("mart_skill_response") }}
),

enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
),

course_skills as (
    select * from {{ ref("dim_course_skill") }}
),

answered as (
    select
        source,
        learner_key,
        skill_key,
        count(*) as question_count,
        count(distinct course_key) as answered_course_count,
        min(answered_on) as first_answered_on,
        max(answered_on) as last_answered_on
    from responses
    group by source, learner_key, skill_key
),

taught as (
    select
        enrollments.source,
        enrollments.learner_key,
        course_skills.skill_key,
        count(distinct enrollments.course_key) as enrolled_course_count,
        count(distinct enrollments.course_key) filter (where enrollments.outcome in ('pass', 'distinction'))
            as completed_course_count,
        max(enrollments.outcome_known_on) filter (where enrollments.outcome in ('pass', 'distinction'))
            as last_completed_on
    from enrollments
    inner join course_skills
        on enrollments.course_key = course_skills.course_key
    group by enrollments.source, enrollments.learner_key, course_skills.skill_key
),

joined as (
    select
        coalesce(answered.source, taught.source) as source,
        coalesce(answered.learner_key, taught.learner_key) as learner_key,
        coalesce(answered.skill_key, taught.skill_key) as skill_key,
        answered.question_count,
        answered.answered_course_count,
        answered.first_answered_on,
        answered.last_answered_on,
        taught.enrolled_course_count,
        taught.completed_course_count,
        taught.last_completed_on
    from answered
    full outer join taught
        on
            answered.learner_key = taught.learner_key
            and answered.skill_key = taught.skill_key
)

select
    source,
    learner_key,
    skill_key,
    cast(coalesce(question_count, 0) as integer) as question_count,
    cast(coalesce(answered_course_count, 0) as integer) as answered_course_count,
    first_answered_on,
    last_answered_on,
    cast(coalesce(enrolled_course_count, 0) as integer) as enrolled_course_count,
    cast(coalesce(completed_course_count, 0) as integer) as completed_course_count,
    last_completed_on
from joined
