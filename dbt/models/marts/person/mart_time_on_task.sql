-- The time a learner spent in a course on a day, in all and by kind, by the gaps between events. Grain: one row per
-- learner × course × term × day, UTC, for sources that tell times.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['source', 'activity_on'], told_day_inputs(has_types=false)) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

with activity as (
    select * from {{ ref("fct_timed_activity") }}
    where {{ is_touched(["source", "activity_on"]) }}
)

select
    source,
    course_enrollment_key,
    learner_key,
    course_key,
    course_offering_key,
    {%- for column in timed_gaps() %}
    cast({{ column | replace("microseconds", "seconds") }} / 60 as double)
        as {{ column | replace("microseconds", "minutes") }},
    {%- endfor %}
    activity_on
from activity
