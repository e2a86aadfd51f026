-- Events counted by day, the one scan of raw. Grain: one row per learner × course × term × day × day it became known
-- × unknown item (null: items known), for every source.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    full_refresh=rebuilds_everything(),
    pre_hook="{{ delete_dates_to_rebuild(this) }}"
) }}

-- Deleting first, and by date, empties a date that lost all its rows; dbt's delete+insert by key would keep them.
with events as (
    {{ union_contracts("events", where=dates_to_rebuild("occurred_on")) }}
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
        sum(events.click_count) as click_count,
        count(*) as event_count
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
)

select
    source,
    {{ entity_key(["learner_id", "course_id", "term_id"]) }} as course_enrollment_key,
    {{ entity_key(["learner_id"]) }} as learner_key,
    {{ entity_key(["course_id", "term_id"]) }} as course_offering_key,
    occurred_on,
    known_on,
    cast(event_count as bigint) as event_count,
    cast(click_count as bigint) as click_count,
    {%- for kind in activity_kinds() %}
    cast(coalesce({{ kind }}_click_count, 0) as bigint) as {{ kind }}_click_count,
    {%- endfor %}
    missing_item_id
from counted
