-- How many learners with an open outcome the last scoring scored, by program and in all. Grain: one row per source ×
-- outcome × level × program.
{%- set levels = [
    {"name": "program", "keys": ["outcome", "program_key"]},
    {"name": "source", "keys": ["outcome"]},
] %}
{%- set measures = [
    {"name": "open", "value": "count(*)"},
    {"name": "scored", "words": "scored", "value": "count(scored_key)", "within": "open"},
] %}

with latest as (
    {{ latest_scores() }}
),

open_enrollments as (
    select
        enrollments.*,
        latest.enrollment_key as scored_key
    from {{ ref("feature_open_enrollments") }} as enrollments
    left join latest
        on
            enrollments.outcome = latest.outcome
            and enrollments.enrollment_key = latest.enrollment_key
),

{{ protected_groups("open_enrollments", levels, measures) }}

select
    protected.source,
    protected.outcome,
    protected.level,
    protected.program_key,
    programs.program_name,
    {{ shown_measure(measures[0], is_rounded=true) }},
    {{ shown_measure(measures[1], is_rounded=true) }},
    case
        when protected.open_why is null and protected.scored_why is null
            then floor(100 * protected.scored_value / cast(protected.open_value as double)) / 100
    end as scored_share,
    {{ withheld_because(measures) }}
from protected
left join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
