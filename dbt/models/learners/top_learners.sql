-- The members with the highest scores in each skill. Grain: one row per source × organization × skill × learner, ten at
-- most an organization and skill.
with abilities as (
    select * from {{ source("analytics", "skill_abilities") }}
    where is_shown
),

members as (
    select * from {{ ref("mart_organization_member") }}
    where is_main
),

-- An organization that is too small for a benchmark has no list of its best either.
benchmarks as (
    select * from {{ source("analytics", "skill_benchmarks") }}
    where comparison = 'all' and is_shown
),

organizations as (
    select * from {{ ref("dim_organization") }}
),

skills as (
    select * from {{ ref("dim_skill") }}
),

ranked as (
    select
        abilities.*,
        members.organization_key,
        row_number() over (
            partition by members.organization_key, abilities.skill_key
            order by abilities.percentile desc, abilities.learner_key asc
        ) as place
    from abilities
    inner join members
        on abilities.learner_key = members.learner_key
    inner join benchmarks
        on
            members.organization_key = benchmarks.organization_key
            and abilities.skill_key = benchmarks.skill_key
)

select
    ranked.source,
    ranked.organization_key,
    ranked.skill_key,
    ranked.learner_key,
    organizations.organization_name,
    skills.skill_name,
    cast(ranked.place as integer) as place,
    ranked.percentile,
    ranked.percentile_low,
    ranked.percentile_high,
    ranked.ability,
    ranked.std_error,
    ranked.item_count,
    ranked.last_answered_on
from ranked
inner join organizations
    on ranked.organization_key = organizations.organization_key
inner join skills
    on ranked.skill_key = skills.skill_key
where ranked.place <= 10
