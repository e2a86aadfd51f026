-- Finds sources whose raw events are not all in core, held, or further deliveries of these. Grain: one row per source
-- that differs.
-- When it fails: a run was interrupted, or its `rebuild` dates did not name all dates that changed in raw.
-- To resolve: run with the dates that the loader's ledger marks, or without `rebuild` to compute all dates anew.
{{ config(meta={"dagster": {"ref": {"name": "fct_daily_activity"}}}) }}

with raw_events as (
    {{ union_contracts("events") }}
),

raw_counts as (
    select
        source,
        count(*) as event_count,
        sum(click_count) as click_count
    from raw_events
    group by source
),

built_counts as (
    select
        source,
        sum(event_count) as event_count,
        sum(duplicate_event_count) as duplicate_event_count,
        sum(click_count) as click_count
    from (
        select
            source,
            event_count,
            0 as duplicate_event_count,
            click_count
        from {{ ref("fct_daily_activity") }}
        union all
        select
            waiting.source,
            waiting.event_count,
            0 as duplicate_event_count,
            waiting.click_count
        from {{ ref("int_events_summarized") }} as waiting
        left join {{ ref("fct_course_enrollment") }} as enrollments
            on waiting.course_enrollment_key = enrollments.course_enrollment_key
        where
            enrollments.course_enrollment_key is null
            or waiting.missing_item_id is not null
        union all
        select
            source,
            0 as event_count,
            duplicate_event_count,
            0 as click_count
        from {{ ref("int_events_summarized") }}
        where duplicate_event_count > 0
    ) as placed
    group by source
)

select
    coalesce(raw_counts.source, built_counts.source) as source,
    raw_counts.event_count as raw_event_count,
    built_counts.event_count as built_event_count,
    built_counts.duplicate_event_count,
    raw_counts.click_count as raw_click_count,
    built_counts.click_count as built_click_count
from raw_counts
full outer join built_counts
    on raw_counts.source = built_counts.source
where
    coalesce(raw_counts.event_count, 0)
    <> coalesce(built_counts.event_count + built_counts.duplicate_event_count, 0)
    -- Duplicates are counted, their clicks are not.
    or (
        coalesce(raw_counts.click_count, 0) <> coalesce(built_counts.click_count, 0)
        and coalesce(built_counts.duplicate_event_count, 0) = 0
    )
