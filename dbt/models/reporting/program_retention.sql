-- How many starters of a degree were in coursework a year later: by first term, by year of entry, and all of a year.
-- Grain: one row per source × level × group.
{%- set levels = [
    {"name": "program_term", "keys": ["first_term_key"]},
    {"name": "program_year", "keys": ["program_key", "first_year_number"]},
    {"name": "year", "keys": ["first_year_number"]},
] %}
{%- set measures = [
    {"name": "starter", "value": "count(*)"},
    {"name": "followed", "words": "followed", "value": "count(is_retained)", "within": "starter"},
    {
        "name": "retained", "words": "retained", "within": "followed", "of": "count(is_retained)",
        "value": "count(case when is_retained then 1 end)", "rest": "count(case when not is_retained then 1 end)",
    },
] %}

with starters as (
    select
        learners.source,
        learners.learner_key,
        learners.program_key,
        learners.first_term_key,
        cast(year(terms.starts_on) as integer) as first_year_number,
        learners.is_retained
    from {{ ref("mart_learner_program") }} as learners
    inner join {{ ref("dim_program") }} as programs
        on learners.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learners.first_term_key = terms.term_key
    where programs.program_type = 'degree'
),

{{ protected_groups("starters", levels, measures) }}

select
    protected.source,
    protected.level,
    protected.program_key,
    protected.first_term_key,
    protected.first_year_number,
    programs.program_name,
    programs.university_name,
    terms.term_id as first_term_name,
    terms.starts_on as first_term_starts_on,
    {%- for measure in measures %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ withheld_because(measures) }}
from protected
left join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
left join {{ ref("dim_term") }} as terms
    on protected.first_term_key = terms.term_key
