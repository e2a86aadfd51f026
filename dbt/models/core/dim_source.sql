-- Sources of the warehouse and the time their data cover. Grain: one row per source.
with sources as (
    select * from {{ ref("int_sources_zoned") }}
),

-- What a source tells at all, and since when.
activity as (
    select
        source,
        min(activity_on) as first_on,
        bool_or(task_count is not null) as has_tasks,
        bool_or(learning_seconds is not null) as has_learning_time
    from {{ ref("fct_daily_activity") }}
    group by source
),

-- Events alone say how far the data reach: they come every day, while a single wrong date of a submission would make
-- weeks look complete that nobody has delivered yet.
received_days as (
    select
        source,
        received_on,
        sum(event_count + coalesce(duplicate_event_count, 0)) as row_count
    from {{ ref("int_events_summarized") }}
    where received_on <= {{ today() }}
    group by source, received_on
),

usual_days as (
    select
        *,
        {{ quantile("row_count", 0.5) }} over (
            partition by source
            order by received_on
            rows between {{ var("usual_days") }} preceding and 1 preceding
        ) as usual_row_count
    from received_days
),

last_days as (
    select
        source,
        max(received_on) as last_on
    from usual_days
    where row_count >= {{ var("least_share_of_usual_rows") }} * coalesce(usual_row_count, 0)
    group by source
)

select
    sources.source,
    sources.contract,
    sources.time_zone,
    activity.first_on as first_data_on,
    last_days.last_on as last_data_on,
    coalesce(activity.has_tasks, false) as has_tasks,
    coalesce(activity.has_learning_time, false) as has_learning_time,
    sources.source in (select contacts.source from {{ ref("fct_intervention") }} as contacts) as has_interventions
from sources
left join activity
    on sources.source = activity.source
left join last_days
    on sources.source = last_days.source
