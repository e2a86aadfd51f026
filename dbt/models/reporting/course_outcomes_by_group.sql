-- How courses ended for groups of learners. Grain: one row per source × course × term × characteristic × group.
{%- set characteristics = ["gender", "age_band", "education_level", "deprivation_band", "has_disability"] %}

with learner_courses as (
    select * from {{ ref("mart_learner_course") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

grouped as (
    {%- for characteristic in characteristics %}
    select
        source,
        course_offering_key,
        '{{ characteristic }}' as characteristic,
        coalesce(cast({{ characteristic }} as {{ dbt.type_string() }}), 'not known') as group_name,
        count(*) as learner_count,
        count(is_passed) as followed_count,
        avg(case when is_passed then 1.0 when not is_passed then 0.0 end) as passed_share,
        avg(case when is_withdrawn then 1.0 when not is_withdrawn then 0.0 end) as withdrawn_share,
        {{ quantile("active_days", 0.5) }} as median_active_days
    from learner_courses
    group by source, course_offering_key, coalesce(cast({{ characteristic }} as {{ dbt.type_string() }}), 'not known')
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

-- The course's own figures are known, and those of all groups but one would give that one.
guarded as (
    select
        *,
        {{ is_withheld("learner_count", ["course_offering_key", "characteristic"], "group_name") }} as is_withheld,
        {{ is_withheld("followed_count", ["course_offering_key", "characteristic"], "group_name") }}
            as is_outcome_withheld
    from grouped
)

select
    grouped.source,
    grouped.course_offering_key,
    courses.course_name,
    offerings.term_id as term_name,
    grouped.characteristic,
    grouped.group_name,
    {{ shown("grouped", [
        "learner_count", "median_active_days",
    ], "learner_count", "is_withheld") }},
    case
        when not grouped.is_withheld and not grouped.is_outcome_withheld then grouped.passed_share
    end as passed_share,
    case
        when not grouped.is_withheld and not grouped.is_outcome_withheld then grouped.withdrawn_share
    end as withdrawn_share
from guarded as grouped
inner join offerings
    on grouped.course_offering_key = offerings.course_offering_key
inner join courses
    on offerings.course_key = courses.course_key
