-- How a program's courses of a year ended for groups of learners. Grain: one row per source × program × year ×
-- characteristic × group.
{%- set characteristics = ["gender", "age_band", "education_level", "deprivation_band", "has_disability"] %}
{%- set levels = [
    {"name": "group", "keys": ["program_key", "year_number", "characteristic", "group_name"]},
] %}
{%- set measures = [
    {"name": "enrollment", "value": "count(*)", "forced": "bool_or(is_size_withheld)"},
    {
        "name": "outcome", "words": "outcomes", "within": "enrollment", "forced": "bool_or(is_outcome_withheld)",
        "value": "count(case when is_outcome_final then 1 end)",
    },
    {
        "name": "passed", "words": "passed", "within": "outcome", "forced": "bool_or(is_passed_withheld)",
        "of": "count(case when is_outcome_final then 1 end)",
        "value": "count(case when is_outcome_final and is_passed then 1 end)",
        "rest": "count(case when is_outcome_final and not is_passed then 1 end)",
    },
    {
        "name": "withdrawn", "words": "withdrawn", "within": "passed", "is_bounded": false,
        "forced": "bool_or(is_withdrawn_withheld)",
        "of": "count(case when is_outcome_final then 1 end)",
        "value": "count(case when is_outcome_final and is_withdrawn then 1 end)",
        "rest": "count(case when is_outcome_final and not is_passed and not is_withdrawn then 1 end)",
    },
] %}

with learner_courses as (
    select
        learner_courses.source,
        learner_courses.learner_key,
        learner_courses.program_key,
        cast(year(offerings.starts_on) as integer) as year_number,
        learner_courses.gender,
        coalesce(
            learner_courses.age_band,
            {{ age_band("cast(year(offerings.starts_on) as integer) - learner_courses.birth_year") }}
        ) as age_band,
        learner_courses.education_level,
        learner_courses.deprivation_band,
        learner_courses.has_disability,
        learner_courses.is_outcome_final,
        learner_courses.is_passed,
        learner_courses.is_withdrawn,
        learner_courses.active_days
    from {{ ref("mart_learner_course") }} as learner_courses
    inner join {{ ref("dim_course_offering") }} as offerings
        on learner_courses.course_offering_key = offerings.course_offering_key
    where learner_courses.term_key is not null
),

-- Where the figure of all is withheld, that of its parts is: they would add up to it.
wholes as (
    select
        program_key,
        year_number,
        enrollment_count is null as is_size_withheld,
        outcome_count is null as is_outcome_withheld,
        passed_count is null as is_passed_withheld,
        withdrawn_count is null as is_withdrawn_withheld
    from {{ ref("course_outcomes") }}
    where level = 'program_year'
),

grouped as (
    {%- for characteristic in characteristics %}
    select
        learner_courses.source,
        learner_courses.learner_key,
        learner_courses.program_key,
        learner_courses.year_number,
        '{{ characteristic }}' as characteristic,
        coalesce(cast(learner_courses.{{ characteristic }} as {{ dbt.type_string() }}), 'not known') as group_name,
        learner_courses.is_outcome_final,
        learner_courses.is_passed,
        learner_courses.is_withdrawn,
        learner_courses.active_days,
        wholes.is_size_withheld,
        wholes.is_outcome_withheld,
        wholes.is_passed_withheld,
        wholes.is_withdrawn_withheld
    from learner_courses
    inner join wholes
        on
            learner_courses.program_key = wholes.program_key
            and learner_courses.year_number = wholes.year_number
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

{{ protected_groups(
    "grouped", levels, measures,
    aggregates={"mean_active_days": "avg(active_days)"},
    within=["program_key", "year_number", "characteristic"],
) }}

select
    protected.source,
    protected.program_key,
    protected.year_number,
    programs.program_name,
    protected.characteristic,
    protected.group_name,
    {%- for measure in measures %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ shown_with("enrollment", "mean_active_days") }},
    {{ withheld_because(measures) }}
from protected
inner join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
