-- Learners active in a week anywhere in a source, and their learning time. Grain: one row per source × week.
with weeks as (
    select
        source,
        {{ add_days("activity_on", "1 - " ~ iso_day_of_week("activity_on")) }} as week_starts_on,
        count(distinct learner_key) as learner_value,
        round(sum(learning_seconds) / cast(3600 as double), 0) as learning_hours
    from {{ ref("fct_daily_activity") }}
    where click_count > 0
    group by source, {{ add_days("activity_on", "1 - " ~ iso_day_of_week("activity_on")) }}
),

protected as (
    select
        *,
        {{ why_of_single_group("learner_value") }} as learner_why
    from weeks
)
{%- set measures = [{"name": "learner"}] %}

select
    source,
    week_starts_on,
    {{ shown_measure(measures[0], is_rounded=true) }},
    {{ shown_with("learner", "learning_hours") }},
    {{ withheld_because(measures) }}
from protected
