-- What learners did in their courses. Grain: one row per learner × course × term × day × day it became known
-- (a second row of a day only when some of its events were received later), for every source.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook=["{{ find_stale_dates(this) }}", "{{ delete_stale_dates(this) }}"]
) }}

-- depends_on: {{ ref("int_events_resolved") }}
with events as (
    {{ resolved_events(dates=is_stale_date("occurred_on")) }}
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
