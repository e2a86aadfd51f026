-- Events counted by day, the one model that scans raw. Grain: one row per learner × course × term × day × day it became
-- known × unknown item (null: items known), for every source.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_dates_to_rebuild(this) }}"
) }}

-- Deleting first, and by date, empties a date that lost all its rows; dbt's delete+insert by key would keep them.
-- Read as often as it is named below: reading costs less than keeping all events.
{%- set asked = dates_to_rebuild("occurred_on") %}
{%- set deliveries = "(" ~ union_contracts("events", where=asked ~ " and " ~ in_slice("occurred_on")) ~ ")" %}

{{ in_slices(16000000, "(" ~ union_contracts("events", where=asked) ~ ")") }}

with redelivered as (
    select
        source,
        occurred_on,
        event_id
    from {{ deliveries }} as deliveries
    where event_id is not null
    group by source, occurred_on, event_id
    having count(*) > 1
),

-- Of several deliveries the one received first; the columns after that decide only where the deliveries differ.
first_deliveries as (
    select
        deliveries.*,
        count(*) over (partition by deliveries.source, deliveries.occurred_on, deliveries.event_id) as delivery_count
    from {{ deliveries }} as deliveries
    inner join redelivered
        on
            deliveries.source = redelivered.source
            and deliveries.occurred_on = redelivered.occurred_on
            and deliveries.event_id = redelivered.event_id
    qualify row_number() over (
        partition by deliveries.source, deliveries.occurred_on, deliveries.event_id
        order by
            deliveries.received_at,
            deliveries.occurred_at,
            deliveries.learner_id,
            deliveries.course_id,
            deliveries.term_id,
            deliveries.item_id,
            deliveries.event_type
    ) = 1
),

events as (
    select
        deliveries.*,
        1 as delivery_count
    from {{ deliveries }} as deliveries
    left join redelivered
        on
            deliveries.source = redelivered.source
            and deliveries.occurred_on = redelivered.occurred_on
            and deliveries.event_id = redelivered.event_id
    where
        deliveries.event_id is not null
        and redelivered.event_id is null

    union all

    select * from first_deliveries

    union all

    -- Apart, so that a source without ids does not look for any.
    select
        *,
        1 as delivery_count
    from {{ deliveries }} as deliveries
    where event_id is null
),

items as (
    select * from {{ ref("int_course_items_offered") }}
    where missing_reference is null
),

counted as (
    select
        events.source,
        events.learner_id,
        events.course_id,
        events.term_id,
        events.occurred_on,
        events.known_on,
        case when items.item_id is null then events.item_id end as missing_item_id,
        {%- for kind in activity_kinds() %}
        sum(events.click_count) filter (where items.activity_kind = '{{ kind }}') as {{ kind }}_click_count,
        {%- endfor %}
        {%- for column, type in counted_event_types().items() %}
        count(*) filter (where events.event_type = '{{ type }}') as {{ column }},
        {%- endfor %}
        sum(events.click_count) as click_count,
        count(*) as event_count,
        count(events.event_id) as identified_event_count,
        count(events.event_type) as typed_event_count,
        sum(events.delivery_count) as delivery_count,
        {{ event_times("events.occurred_at") }} as event_times
    from events
    left join items
        on
            events.source = items.source
            and events.course_id = items.course_id
            and events.term_id = items.term_id
            and events.item_id = items.item_id
    group by
        events.source,
        events.learner_id,
        events.course_id,
        events.term_id,
        events.occurred_on,
        events.known_on,
        missing_item_id
),

-- Days of which some events were received later: few. A row of theirs has the learning time of all events known by then
-- less that of all known before it, so that rows known by a date add up to what could be known on it.
late_days as (
    select distinct
        source,
        learner_id,
        course_id,
        term_id,
        occurred_on
    from counted
    where
        known_on > occurred_on
        and missing_item_id is null
),

late_day_times as (
    select
        counted.source,
        counted.learner_id,
        counted.course_id,
        counted.term_id,
        counted.occurred_on,
        counted.known_on,
        {{ joined_event_times("counted.event_times", "so_far") }} as event_times
    from counted
    inner join late_days
        on
            counted.source = late_days.source
            and counted.learner_id = late_days.learner_id
            and counted.course_id = late_days.course_id
            and counted.term_id = late_days.term_id
            and counted.occurred_on = late_days.occurred_on
    where counted.missing_item_id is null
    window so_far as (
        partition by
            counted.source, counted.learner_id, counted.course_id, counted.term_id, counted.occurred_on
        order by counted.known_on
        rows between unbounded preceding and current row
    )
),

late_day_seconds as (
    select
        *,
        {{ learning_seconds("event_times") }} as learning_seconds_so_far
    from late_day_times
),

late_day_changes as (
    select
        *,
        learning_seconds_so_far - coalesce(
            lag(learning_seconds_so_far) over (
                partition by source, learner_id, course_id, term_id, occurred_on
                order by known_on
            ),
            0
        ) as learning_seconds
    from late_day_seconds
)

select
    counted.source,
    {{ entity_key(["learner_id", "course_id", "term_id"], "counted") }} as course_enrollment_key,
    {{ entity_key(["learner_id"], "counted") }} as learner_key,
    {{ entity_key(["course_id", "term_id"], "counted") }} as course_offering_key,
    counted.occurred_on,
    counted.known_on,
    cast(counted.event_count as bigint) as event_count,
    cast(
        case when counted.identified_event_count > 0 then counted.delivery_count - counted.event_count end as bigint
    ) as duplicate_event_count,
    cast(counted.click_count as bigint) as click_count,
    {%- for kind in activity_kinds() %}
    cast(coalesce(counted.{{ kind }}_click_count, 0) as bigint) as {{ kind }}_click_count,
    {%- endfor %}
    {%- for column in counted_event_types() %}
    cast(case when counted.typed_event_count > 0 then counted.{{ column }} end as bigint) as {{ column }},
    {%- endfor %}
    cast(
        coalesce(late_day_changes.learning_seconds, {{ learning_seconds("counted.event_times") }}) as decimal(18, 6)
    ) as learning_seconds,
    counted.missing_item_id
from counted
left join late_day_changes
    on
        counted.source = late_day_changes.source
        and counted.learner_id = late_day_changes.learner_id
        and counted.course_id = late_day_changes.course_id
        and counted.term_id = late_day_changes.term_id
        and counted.occurred_on = late_day_changes.occurred_on
        and counted.known_on = late_day_changes.known_on
        and counted.missing_item_id is null
