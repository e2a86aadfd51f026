-- What a learner did in a course on a day, as institutional research counts it. Grain: one row per learner × course ×
-- term × day, UTC, for sources that tell times.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['source', 'activity_on'], told_day_inputs(has_types=true)) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

with activity as (
    select * from {{ ref("fct_timed_activity") }}
    where {{ is_touched(["source", "activity_on"]) }}
),

-- Of a type that no event of the source has nothing is known: null, not 0.
types as (
    {{ told_types(ref("fct_timed_activity")) }}
)

select
    activity.source,
    activity.course_enrollment_key,
    activity.learner_key,
    activity.course_key,
    activity.course_offering_key,
    activity.activity_on,
    activity.event_count,
    {%- for kind in timed_kinds() %}
    activity.{{ kind }}_event_count,
    {%- endfor %}
    {%- for column in counts_of_day() %}
    case when types.has_{{ column }} then activity.{{ column }} end as {{ column }},
    {%- endfor %}
    activity.gap_count,
    cast(activity.gap_seconds as double) as gap_seconds,
    cast(activity.gap_seconds / nullif(activity.gap_count, 0) as double) as mean_gap_seconds,
    cast(activity.longest_gap_seconds as double) as longest_gap_seconds
from activity
inner join types
    on activity.source = types.source
