-- From stackable open courses into the degree and a year on: those who completed one, who enrolled in one without
-- completing, and all others. Grain: one row per source × program × way in.
{%- set levels = [{"name": "way_in", "keys": ["program_key", "way_in"]}] %}
{%- set measures = [
    {"name": "entrant", "value": "count(*)"},
    {"name": "followed", "words": "followed", "value": "count(is_retained)", "within": "entrant"},
    {
        "name": "retained", "words": "retained", "within": "followed", "of": "count(is_retained)",
        "value": "count(case when is_retained then 1 end)", "rest": "count(case when not is_retained then 1 end)",
    },
] %}

with stackability as (
    select * from {{ ref("mart_program_stackability") }}
),

entrants as (
    select
        learners.source,
        learners.learner_key,
        learners.program_key,
        case
            when learners.has_stackable_completion then 'completed'
            when learners.has_stackable_enrollment then 'enrolled'
            else 'other'
        end as way_in,
        learners.is_retained
    from {{ ref("mart_learner_program") }} as learners
    inner join stackability
        on learners.program_key = stackability.program_key
    where learners.has_stackable_enrollment is not null
),

{{ protected_groups("entrants", levels, measures, within=["program_key"]) }}

select
    protected.source,
    protected.program_key,
    programs.program_name,
    programs.university_name,
    stackability.stackable_course_count,
    protected.way_in,
    {%- for measure in measures %}
    {{ shown_measure(measure, is_rounded=true) }},
    {%- endfor %}
    {{ withheld_because(measures) }}
from protected
inner join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
inner join stackability
    on protected.program_key = stackability.program_key
