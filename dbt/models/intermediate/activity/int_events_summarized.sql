-- Events counted by day, the one model that scans raw. Grain: one row per learner × course × term × day of raw × day in
-- the program's zone × day it became known × day it was received × unknown item (null: items known), for every source.
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

-- Of several deliveries the one received first counts; the columns after that decide only where they differ.
redeliveries as (
    select
        deliveries.*,
        row_number() over (
            partition by deliveries.source, deliveries.occurred_on, deliveries.event_id
            order by
                deliveries.received_at,
                deliveries.occurred_at,
                deliveries.learner_id,
                deliveries.course_id,
                deliveries.term_id,
                deliveries.item_id,
                deliveries.event_type
        ) = 1 as is_counted
    from {{ deliveries }} as deliveries
    inner join redelivered
        on
            deliveries.source = redelivered.source
            and deliveries.occurred_on = redelivered.occurred_on
            and deliveries.event_id = redelivered.event_id
),

delivered as (
    select
        deliveries.*,
        true as is_counted
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

    select * from redeliveries

    union all

    -- Apart, so that a source without ids does not look for any.
    select
        *,
        true as is_counted
    from {{ deliveries }} as deliveries
    where event_id is null
),

items as (
    select * from {{ ref("int_course_items_offered") }}
    where missing_reference is null
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
),

source_zones as (
    select * from {{ ref("int_sources_zoned") }}
),

zoned as (
    select
        delivered.*,
        coalesce(courses.time_zone, source_zones.time_zone) as time_zone,
        source_zones.time_zone as source_time_zone
    from delivered
    left join courses
        on
            delivered.source = courses.source
            and delivered.course_id = courses.course_id
    left join source_zones
        on delivered.source = source_zones.source
),

-- What is known by its day only is taken as it stands.
dated as (
    select
        *,
        coalesce({{ local_date("occurred_at", "time_zone") }}, occurred_on) as activity_on,
        coalesce(
            {{ local_date("received_at", "source_time_zone") }},
            {{ local_date("occurred_at", "source_time_zone") }},
            occurred_on
        ) as received_on
    from zoned
),

events as (
    select
        *,
        -- A device clock that runs fast puts the event after its receipt.
        greatest(activity_on, coalesce({{ local_date("received_at", "time_zone") }}, activity_on)) as known_on
    from dated
),

counted as (
    select
        events.source,
        events.learner_id,
        events.course_id,
        events.term_id,
        events.occurred_on,
        events.activity_on,
        events.known_on,
        events.received_on,
        case when items.item_id is null then events.item_id end as missing_item_id,
        {%- for kind in activity_kinds() %}
        sum(events.click_count) filter (where events.is_counted and items.activity_kind = '{{ kind }}')
            as {{ kind }}_click_count,
        {%- endfor %}
        {%- for column, type in counted_event_types().items() %}
        count(*) filter (where events.is_counted and events.event_type = '{{ type }}') as {{ column }},
        {%- endfor %}
        sum(events.click_count) filter (where events.is_counted) as click_count,
        count(*) filter (where events.is_counted) as event_count,
        count(*) as delivery_count,
        count(events.event_id) as identified_event_count,
        count(events.event_type) as typed_event_count,
        min(case when events.occurred_at is not null then events.time_zone end) as time_zone,
        {%- for column, types in timed_counts().items() %}
        count(*) filter (
            where
            events.is_counted
            and events.event_type in (
                {%- for type in types %}
                '{{ type }}'{{ "," if not loop.last }}
                {%- endfor %}
            )
        ) as {{ column }},
        {%- endfor %}
        {{ kinds_and_times("events", "items") }} as kinds_and_times
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
        events.activity_on,
        events.known_on,
        events.received_on,
        missing_item_id
)

select
    source,
    {{ entity_key(["learner_id", "course_id", "term_id"]) }} as course_enrollment_key,
    {{ entity_key(["learner_id"]) }} as learner_key,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["course_id", "term_id"]) }} as course_offering_key,
    occurred_on,
    activity_on,
    known_on,
    received_on,
    time_zone,
    cast(event_count as bigint) as event_count,
    cast(case when identified_event_count > 0 then delivery_count - event_count end as bigint) as duplicate_event_count,
    cast(coalesce(click_count, 0) as bigint) as click_count,
    {%- for kind in activity_kinds() %}
    cast(coalesce({{ kind }}_click_count, 0) as bigint) as {{ kind }}_click_count,
    {%- endfor %}
    {%- for column in counted_event_types() %}
    cast(case when typed_event_count > 0 then {{ column }} end as bigint) as {{ column }},
    {%- endfor %}
    {{ event_times("kinds_and_times") }} as event_times,
    kinds_and_times,
    {%- for column in timed_counts() %}
    cast({{ column }} as bigint) as {{ column }},
    {%- endfor %}
    missing_item_id
from counted
