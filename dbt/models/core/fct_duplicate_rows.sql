-- Duplicates that were resolved, by table. Grain: one row per source × raw table.
with counted as (
    {{ union_contracts("raw_rows") }}

    union all

    -- Counted where they are resolved: a further reading of all events would cost as much as that.
    select
        source,
        'events' as table_name,
        cast(sum(event_count + duplicate_event_count) as bigint) as raw_row_count,
        cast(sum(event_count) as bigint) as distinct_row_count
    from {{ ref("int_events_summarized") }}
    where duplicate_event_count is not null
    group by source
)

select
    source,
    table_name,
    raw_row_count,
    distinct_row_count,
    raw_row_count - distinct_row_count as duplicate_row_count
from counted
