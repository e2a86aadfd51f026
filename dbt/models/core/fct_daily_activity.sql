-- What learners did in their courses, by day. Grain: one row per source × learner × course × term × day of activity × day it became known
-- (a second row of a day only when some of its events were received later).
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    full_refresh=rebuilds_everything(),
    pre_hook=["{{ find_stale_dates(this) }}", "{{ delete_stale_dates(this) }}"]
) }}

select
    source,
    course_enrollment_key,
    learner_key,
    course_offering_key,
    activity_on,
    known_on,
    is_first_known,
    event_count,
    click_count
    {%- for kind in activity_kinds() %},
    {{ kind }}_click_count
    {%- endfor %}
from {{ ref("int_events_resolved") }}
where
    not is_held
    {%- if is_incremental() %}
    and (source, activity_on) in (select source, activity_on from stale_dates)
    {%- endif %}
