-- Where organizations stand in each skill, against all and those like them. Grain: one row per source × organization ×
-- skill × comparison group.
with benchmarks as (
    select * from {{ source("analytics", "skill_benchmarks") }}
),

gaps as (
    select * from {{ source("analytics", "skill_gaps") }}
),

organizations as (
    select * from {{ ref("dim_organization") }}
),

skills as (
    select * from {{ ref("dim_skill") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

recommended as (
    select
        gaps.organization_key,
        gaps.skill_key,
        max(case when gaps.rank = 1 then courses.course_name end) as first_course_name,
        max(case when gaps.rank = 2 then courses.course_name end) as second_course_name,
        max(case when gaps.rank = 3 then courses.course_name end) as third_course_name
    from gaps
    left join courses
        on gaps.course_key = courses.course_key
    group by gaps.organization_key, gaps.skill_key
)

select
    benchmarks.source,
    benchmarks.organization_key,
    benchmarks.skill_key,
    benchmarks.comparison,
    organizations.organization_name,
    organizations.industry,
    organizations.country,
    organizations.size_band,
    skills.skill_name,
    skills.competency,
    skills.domain,
    benchmarks.comparison_label,
    benchmarks.compared_industry,
    benchmarks.compared_country,
    benchmarks.compared_size_band,
    benchmarks.computed_on,
    benchmarks.is_shown,
    benchmarks.withheld_reason,
    benchmarks.member_count,
    benchmarks.organization_count,
    benchmarks.mean_ability,
    benchmarks.std_error,
    benchmarks.members_percentile,
    benchmarks.organization_percentile,
    benchmarks.percentile_low,
    benchmarks.percentile_high,
    benchmarks.band,
    benchmarks.year_gain,
    benchmarks.year_gain_low,
    benchmarks.year_gain_high,
    benchmarks.year_gain_member_count,
    recommended.first_course_name,
    recommended.second_course_name,
    recommended.third_course_name
from benchmarks
inner join organizations
    on benchmarks.organization_key = organizations.organization_key
inner join skills
    on benchmarks.skill_key = skills.skill_key
left join recommended
    on
        benchmarks.organization_key = recommended.organization_key
        and benchmarks.skill_key = recommended.skill_key
        and benchmarks.is_shown
