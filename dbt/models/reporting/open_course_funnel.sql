-- From an open course into a degree and a year on, by the year in which learners enrolled. Grain: one row per source ×
-- level × open course × year.
{%- set levels = [
    {"name": "course_year", "keys": ["course_key", "year_number"]},
    {"name": "year", "keys": ["year_number"]},
] %}
{%- set measures = [
    {"name": "learner", "value": "count(*)"},
    {
        "name": "completed", "words": "completed", "within": "learner", "of": "count(*)",
        "value": "count(case when is_completed then 1 end)", "rest": "count(case when not is_completed then 1 end)",
    },
    {
        "name": "entered", "words": "entered a degree", "within": "learner", "of": "count(*)",
        "value": "count(case when is_entered then 1 end)", "rest": "count(case when not is_entered then 1 end)",
    },
    {"name": "followed", "words": "followed", "within": "entered", "value": "count(is_retained)"},
    {
        "name": "retained", "words": "retained", "within": "followed", "of": "count(is_retained)",
        "value": "count(case when is_retained then 1 end)", "rest": "count(case when not is_retained then 1 end)",
    },
] %}

with open_learners as (
    select
        enrollments.source,
        enrollments.learner_key,
        enrollments.course_key,
        min(enrollments.registered_on) as registered_on,
        bool_or(enrollments.completed_on is not null) as is_completed
    from {{ ref("fct_course_enrollment") }} as enrollments
    inner join {{ ref("dim_course") }} as courses
        on enrollments.course_key = courses.course_key
    where courses.course_type = 'open'
    group by enrollments.source, enrollments.learner_key, enrollments.course_key
),

-- The degree that a learner entered next.
entries as (
    select
        open_learners.learner_key,
        open_learners.course_key,
        terms.starts_on,
        learners.is_retained,
        row_number() over (
            partition by open_learners.learner_key, open_learners.course_key
            order by terms.starts_on, learners.program_key
        ) as place
    from open_learners
    inner join {{ ref("mart_learner_program") }} as learners
        on open_learners.learner_key = learners.learner_key
    inner join {{ ref("dim_program") }} as programs
        on learners.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learners.first_term_key = terms.term_key
    where
        programs.program_type = 'degree'
        and open_learners.registered_on < terms.starts_on
),

moved as (
    select
        open_learners.source,
        open_learners.learner_key,
        open_learners.course_key,
        cast(year(open_learners.registered_on) as integer) as year_number,
        open_learners.is_completed,
        entries.starts_on is not null as is_entered,
        entries.is_retained
    from open_learners
    left join entries
        on
            open_learners.learner_key = entries.learner_key
            and open_learners.course_key = entries.course_key
            and entries.place = 1
),

{{ protected_groups("moved", levels, measures) }}

select
    protected.source,
    protected.level,
    protected.course_key,
    protected.year_number,
    courses.course_name,
    {%- for measure in measures %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ withheld_because(measures) }}
from protected
left join {{ ref("dim_course") }} as courses
    on protected.course_key = courses.course_key
