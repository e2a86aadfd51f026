-- Which skills learners take courses for: by country and language of the course, by country, and in all.
-- Grain: one row per source × level × skill × country × language.
{%- set levels = [
    {"name": "skill_country_language", "keys": ["skill_key", "country", "course_language"]},
    {"name": "skill_country", "keys": ["skill_key", "country"]},
    {"name": "skill", "keys": ["skill_key"]},
] %}
{%- set measures = [{"name": "learner", "value": "count(*)"}] %}

with learners as (
    select distinct
        course_skills.source,
        course_skills.skill_key,
        learner_courses.learner_key,
        coalesce(learner_courses.country, 'not known') as country,
        coalesce(courses.language, 'not known') as course_language
    from {{ ref("mart_learner_course") }} as learner_courses
    inner join {{ ref("dim_course") }} as courses
        on learner_courses.course_key = courses.course_key
    inner join {{ ref("dim_course_skill") }} as course_skills
        on courses.course_key = course_skills.course_key
),

{{ protected_groups("learners", levels, measures) }}

select
    protected.source,
    protected.level,
    protected.skill_key,
    skills.skill_name,
    skills.competency,
    skills.domain,
    protected.country,
    protected.course_language,
    {{ shown_measure(measures[0], is_rounded=true) }},
    {{ withheld_because(measures) }}
from protected
inner join {{ ref("dim_skill") }} as skills
    on protected.skill_key = skills.skill_key
