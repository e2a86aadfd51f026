-- Skills of learners beside their profiles: what they learned, answered and master. Grain: one row per source × learner
-- × skill.
with learner_skills as (
    select * from {{ ref("mart_learner_skill") }}
),

abilities as (
    select * from {{ source("analytics", "skill_abilities") }}
),

profiles as (
    select * from {{ ref("mart_learner_profile") }}
),

skills as (
    select * from {{ ref("dim_skill") }}
)

select
    learner_skills.source,
    learner_skills.learner_key,
    learner_skills.skill_key,
    skills.skill_name,
    skills.competency,
    skills.domain,
    profiles.has_profile,
    profiles.target_role,
    profiles.education_level,
    learner_skills.enrolled_course_count,
    learner_skills.completed_course_count,
    learner_skills.last_completed_on,
    learner_skills.question_count,
    learner_skills.last_answered_on,
    coalesce(abilities.is_shown, false) as has_ability,
    coalesce(
        abilities.withheld_reason,
        case when abilities.learner_key is null then 'no answers to questions on the scale' end
    ) as withheld_reason,
    abilities.ability,
    abilities.std_error,
    abilities.percentile,
    abilities.percentile_low,
    abilities.percentile_high
from learner_skills
inner join skills
    on learner_skills.skill_key = skills.skill_key
left join profiles
    on learner_skills.learner_key = profiles.learner_key
left join abilities
    on
        learner_skills.learner_key = abilities.learner_key
        and learner_skills.skill_key = abilities.skill_key
