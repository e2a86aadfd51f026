-- What learners should do next in a skill: questions to practise and courses to take. Grain: one row per source ×
-- learner × skill × kind of step × rank.
with questions as (
    select * from {{ source("analytics", "skill_next_questions") }}
),

next_courses as (
    select * from {{ source("analytics", "skill_next_courses") }}
),

abilities as (
    select * from {{ source("analytics", "skill_abilities") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

skills as (
    select * from {{ ref("dim_skill") }}
),

steps as (
    select
        source,
        skill_key,
        learner_key,
        'question' as step,
        rank,
        course_key,
        question_key,
        information,
        expected_std_error,
        cast(null as {{ dbt.type_float() }}) as expected_gain,
        cast(null as {{ dbt.type_float() }}) as expected_score_share,
        cast(null as {{ dbt.type_float() }}) as expected_ability,
        cast(null as {{ dbt.type_float() }}) as expected_percentile,
        cast(null as {{ dbt.type_string() }}) as reason
    from questions
    union all
    select
        source,
        skill_key,
        learner_key,
        'course' as step,
        rank,
        course_key,
        cast(null as {{ dbt.type_string() }}) as question_key,
        cast(null as {{ dbt.type_float() }}) as information,
        cast(null as {{ dbt.type_float() }}) as expected_std_error,
        expected_gain,
        expected_score_share,
        expected_ability,
        expected_percentile,
        reason
    from next_courses
)

select
    steps.source,
    steps.learner_key,
    steps.skill_key,
    steps.course_key,
    steps.question_key,
    skills.skill_name,
    courses.course_name,
    steps.step,
    steps.rank,
    abilities.ability,
    abilities.std_error,
    abilities.percentile,
    steps.information,
    steps.expected_std_error,
    steps.expected_gain,
    steps.expected_score_share,
    steps.expected_ability,
    steps.expected_percentile,
    steps.reason
from steps
inner join skills
    on steps.skill_key = skills.skill_key
left join courses
    on steps.course_key = courses.course_key
left join abilities
    on
        steps.learner_key = abilities.learner_key
        and steps.skill_key = abilities.skill_key
