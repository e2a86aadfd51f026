-- What learners can show: qualifications, skills, learning time, projects. No personal field.
-- Grain: one row per source × learner.
with learners as (
    select * from {{ ref("dim_learner") }}
),

profiles as (
    select * from {{ ref("dim_profile") }}
),

completed_courses as (
    select
        enrollments.learner_key,
        enrollments.course_key,
        min(enrollments.completed_on) as completed_on,
        bool_or(courses.course_type = 'open') as is_open
    from {{ ref("fct_course_enrollment") }} as enrollments
    inner join {{ ref("dim_course") }} as courses
        on enrollments.course_key = courses.course_key
    where enrollments.completed_on is not null
    group by enrollments.learner_key, enrollments.course_key
),

courses as (
    select
        learner_key,
        count(*) filter (where is_open) as open_courses_completed_count,
        count(*) filter (where not is_open) as degree_courses_completed_count,
        max(completed_on) as last_completed_on
    from completed_courses
    group by learner_key
),

-- A skill is shown by a completed course that teaches it; how well it is mastered is another question.
skills as (
    select
        completed_courses.learner_key,
        count(distinct skills.skill_key) as skill_count,
        {{ joined_text("skills.skill_name") }} as skill_names
    from completed_courses
    inner join {{ ref("dim_course_skill") }} as course_skills
        on completed_courses.course_key = course_skills.course_key
    inner join {{ ref("dim_skill") }} as skills
        on course_skills.skill_key = skills.skill_key
    group by completed_courses.learner_key
),

credentials as (
    select
        learner_key,
        count(*) filter (where kind = 'course_certificate') as course_certificate_count,
        count(*) filter (where kind = 'professional_certificate') as professional_certificate_count,
        count(*) filter (where kind = 'degree') as degree_count,
        max(issued_on) as last_credential_on
    from {{ ref("fct_credential") }}
    group by learner_key
),

activity as (
    select
        learner_key,
        sum(learning_seconds) / 60.0 as learning_minutes,
        count(distinct activity_on) filter (where is_first_known) as active_days,
        max(activity_on) filter (where is_first_known) as last_activity_on
    from {{ ref("fct_daily_activity") }}
    group by learner_key
)

select
    learners.source,
    learners.learner_key,

    ---------- what the learner looks for, and has
    profiles.learner_key is not null as has_profile,
    profiles.updated_on as profile_updated_on,
    profiles.target_role,
    learners.education_level,
    profiles.work_experience_count,
    profiles.has_links,
    profiles.has_resume,
    profiles.portfolio_project_count,

    ---------- qualifications
    cast(coalesce(credentials.course_certificate_count, 0) as integer) as course_certificate_count,
    cast(coalesce(credentials.professional_certificate_count, 0) as integer) as professional_certificate_count,
    cast(coalesce(credentials.degree_count, 0) as integer) as degree_count,
    credentials.last_credential_on,

    ---------- learning
    cast(coalesce(courses.open_courses_completed_count, 0) as integer) as open_courses_completed_count,
    cast(coalesce(courses.degree_courses_completed_count, 0) as integer) as degree_courses_completed_count,
    courses.last_completed_on,
    cast(coalesce(skills.skill_count, 0) as integer) as skill_count,
    skills.skill_names,
    cast(activity.learning_minutes as double) as learning_minutes,
    cast(coalesce(activity.active_days, 0) as integer) as active_days,
    activity.last_activity_on
from learners
left join profiles
    on learners.learner_key = profiles.learner_key
left join courses
    on learners.learner_key = courses.learner_key
left join skills
    on learners.learner_key = skills.learner_key
left join credentials
    on learners.learner_key = credentials.learner_key
left join activity
    on learners.learner_key = activity.learner_key
