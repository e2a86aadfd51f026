-- How many learners are at risk by the last scoring, by program and in all. Grain: one row per source × outcome ×
-- level × program.
{%- set levels = [
    {"name": "program", "keys": ["outcome", "program_key"]},
    {"name": "source", "keys": ["outcome"]},
] %}
{%- set measures = [
    {"name": "learner", "value": "count(*)"},
    {
        "name": "at_risk", "words": "at risk", "within": "learner", "of": "count(*)",
        "value": "count(case when band in ('high', 'medium') then 1 end)",
        "rest": "count(case when band not in ('high', 'medium') then 1 end)",
    },
    {
        "name": "high", "words": "at high risk", "within": "at_risk", "is_bounded": false, "of": "count(*)",
        "value": "count(case when band = 'high' then 1 end)", "rest": "count(case when band = 'medium' then 1 end)",
    },
    {"name": "changed", "words": "change", "value": "count(probability_change)", "within": "learner"},
] %}

with latest as (
    {{ latest_scores() }}
),

{{ protected_groups("latest", levels, measures, aggregates={
    "as_of_on": "max(as_of_on)",
    "scored_on": "max(scored_on)",
    "mean_probability": "avg(" ~ exact("probability") ~ ")",
    "mean_probability_change": "avg(" ~ exact("probability_change") ~ ")",
}) }}

select
    protected.source,
    protected.outcome,
    protected.level,
    protected.program_key,
    programs.program_name,
    protected.as_of_on,
    protected.scored_on,
    {%- for measure in measures[:3] %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ shown_with("learner", "mean_probability") }},
    {{ shown_with("changed", "mean_probability_change") }},
    {{ withheld_because(measures) }}
from protected
left join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
