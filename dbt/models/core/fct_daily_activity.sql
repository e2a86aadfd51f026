-- What learners did in their courses. Grain: one row per learner × course × term × day × day it became known
-- (a second row of a day only when some of it became known later), for every source.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['source', 'activity_on'], daily_activity_inputs()) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

{{ in_slices(
    2000000, "(select 1 from " ~ ref("int_events_summarized") ~ " where " ~ is_touched(["source", "activity_on"]) ~ ")"
) }}

-- depends_on: {{ ref("int_events_resolved") }}
with events as (
    {{ resolved_events(dates=is_touched(["source", "activity_on"]) ~ " and " ~ in_slice("learner_key")) }}
)

select
    source,
    course_enrollment_key,
    learner_key,
    course_offering_key,
    activity_on,
    known_on,
    {{ activity_measures() | join(",\n    ") }}
from events
where not is_held
