-- Where learners are and how long they learn: by country and year of registration, and in all of a year.
-- Grain: one row per source × level × country × year.
{%- set levels = [
    {"name": "country_year", "keys": ["country", "year_number"]},
    {"name": "year", "keys": ["year_number"]},
] %}
{%- set measures = [
    {"name": "learner", "value": "count(*)"},
    {"name": "timed", "words": "hours", "value": "count(learning_hours)", "within": "learner"},
] %}

with learners as (
    select
        source,
        learner_key,
        coalesce(country, 'not known') as country,
        cast(year(registered_on) as integer) as year_number,
        sum({{ exact("learning_hours") }}) as learning_hours
    from {{ ref("mart_learner_course") }}
    group by source, learner_key, coalesce(country, 'not known'), cast(year(registered_on) as integer)
),

{{ protected_groups(
    "learners", levels, measures, aggregates={"learning_hours": "cast(sum(learning_hours) as double)"},
) }}

select
    source,
    level,
    country,
    year_number,
    {{ shown_measure(measures[0], is_rounded=true) }},
    {{ shown_with("timed", "round(learning_hours, -1)", "learning_hours") }},
    {{ withheld_because(measures) }}
from protected
