-- Learning time by day, from the sessions of each learner over all that they do. Grain: one row per row of
-- int_events_summarized whose events have times × day on which time was spent that they open × day it became known.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook=["{{ find_stale_sessions(this) }}", "{{ delete_stale_sessions(this) }}"]
) }}

-- A gap between two events in succession, no longer than the idle cap, is learning time of the course of the first one.
-- It ends on the day on which it was opened or on the next one: a day is computed from the events of these two.
-- Numbers stand in for keys on the way: with the keys' text, windows take several times as long.
{%- set cap = (var("learning_idle_cap_minutes") * 60 * 1000000) | int %}

{#- Slices by the number of events, in thousands: a row may have one of them or hundreds. #}
{{ in_slices(
    3000,
    "(select unnest(range(cast(sum(event_count) // 1000 as bigint))) from " ~ ref("int_events_summarized")
    ~ " where event_times is not null and " ~ is_stale_session("occurred_on") ~ ")"
) }}

with summaries as (
    select
        source,
        course_enrollment_key,
        learner_key,
        course_offering_key,
        occurred_on,
        activity_on,
        known_on,
        missing_item_id,
        event_times,
        {{ add_days("activity_on", 1) }} as next_on,
        {{ microseconds(day_begins_at(add_days("activity_on", 1), "time_zone")) }} as next_day_moment,
        {{ row_hash(session_inputs()) }} as events_hash,
        row_number() over (
            order by
                learner_key, course_enrollment_key, occurred_on, activity_on, known_on, received_on, missing_item_id
        ) as summary_number,
        dense_rank() over (order by learner_key) as learner_number
    from {{ ref("int_events_summarized") }}
    where
        {{ in_slice("learner_key") }}
        and event_times is not null
        and ({{ is_stale_session("occurred_on") }} or {{ is_stale_session(add_days("occurred_on", -1)) }})
),

moments as (
    select
        summaries.learner_number,
        summaries.summary_number,
        moments.moment
    from summaries
    cross join {{ elements_of("summaries.event_times", "moments", "moment") }}
),

-- Days with an event that was received later, or whose last session such a one may go on with: few.
late_days as (
    select
        learner_number,
        occurred_on
    from summaries
    where known_on > activity_on

    union

    select
        learner_number,
        {{ add_days("occurred_on", -1) }} as occurred_on
    from summaries
    where known_on > activity_on
),

---------- days of which everything became known as it happened

succession as (
    select
        summary_number,
        moment,
        lead(moment) over in_order as next_moment,
        lead(summary_number) over in_order as next_summary_number
    from moments
    window in_order as (
        partition by learner_number
        order by moment, summary_number
    )
),

in_time as (
    select
        succession.summary_number,
        greatest(
            starts.known_on,
            ends.known_on,
            case when succession.next_moment >= starts.next_day_moment then starts.next_on else starts.activity_on end
        ) as known_on,
        sum(least(succession.next_moment, starts.next_day_moment) - succession.moment) as day_microseconds,
        sum(greatest(succession.next_moment - starts.next_day_moment, 0)) as next_day_microseconds
    from succession
    inner join summaries as starts
        on succession.summary_number = starts.summary_number
    inner join summaries as ends
        on succession.next_summary_number = ends.summary_number
    left join late_days
        on
            starts.learner_number = late_days.learner_number
            and starts.occurred_on = late_days.occurred_on
    where
        succession.next_moment - succession.moment <= {{ cap }}
        and late_days.learner_number is null
    group by
        succession.summary_number,
        greatest(
            starts.known_on,
            ends.known_on,
            case when succession.next_moment >= starts.next_day_moment then starts.next_on else starts.activity_on end
        )
),

---------- the others, as they were known on each day on which something of them became known

known_days as (
    select distinct
        late_days.learner_number,
        late_days.occurred_on,
        summaries.known_on
    from late_days
    inner join summaries
        on
            late_days.learner_number = summaries.learner_number
            and summaries.occurred_on between late_days.occurred_on and {{ add_days("late_days.occurred_on", 1) }}
),

known_summaries as (
    select
        known_days.occurred_on as day_on,
        known_days.known_on as as_known_on,
        summaries.learner_number,
        summaries.summary_number,
        summaries.occurred_on,
        summaries.next_day_moment
    from known_days
    inner join summaries
        on
            known_days.learner_number = summaries.learner_number
            and summaries.occurred_on between known_days.occurred_on and {{ add_days("known_days.occurred_on", 1) }}
            and known_days.known_on >= summaries.known_on
),

known_succession as (
    select
        known_summaries.summary_number,
        known_summaries.as_known_on,
        known_summaries.next_day_moment,
        known_summaries.occurred_on = known_summaries.day_on as is_of_day,
        moments.moment,
        lead(moments.moment) over (
            partition by known_summaries.learner_number, known_summaries.day_on, known_summaries.as_known_on
            order by moments.moment, moments.summary_number
        ) as next_moment
    from known_summaries
    inner join moments
        on known_summaries.summary_number = moments.summary_number
),

known_so_far as (
    select
        summary_number,
        as_known_on,
        coalesce(
            sum(least(next_moment, next_day_moment) - moment) filter (where next_moment - moment <= {{ cap }}), 0
        ) as day_microseconds,
        coalesce(
            sum(greatest(next_moment - next_day_moment, 0)) filter (where next_moment - moment <= {{ cap }}), 0
        ) as next_day_microseconds
    from known_succession
    where is_of_day
    group by summary_number, as_known_on
),

-- What became known of a day is what is known by then less what was known before.
later as (
    select
        summary_number,
        as_known_on as known_on,
        day_microseconds - coalesce(lag(day_microseconds) over so_far, 0) as day_microseconds,
        next_day_microseconds - coalesce(lag(next_day_microseconds) over so_far, 0) as next_day_microseconds
    from known_so_far
    window so_far as (
        partition by summary_number
        order by as_known_on
    )
),

---------- all of it

learning as (
    select
        summary_number,
        activity_on as spent_on,
        known_on,
        0 as microseconds,
        events_hash
    from summaries

    union all

    select
        gaps.summary_number,
        summaries.activity_on as spent_on,
        gaps.known_on,
        gaps.day_microseconds as microseconds,
        0 as events_hash
    from (
        select * from in_time
        union all
        select * from later
    ) as gaps
    inner join summaries
        on gaps.summary_number = summaries.summary_number
    where gaps.day_microseconds <> 0

    union all

    select
        gaps.summary_number,
        summaries.next_on as spent_on,
        greatest(gaps.known_on, summaries.next_on) as known_on,
        gaps.next_day_microseconds as microseconds,
        0 as events_hash
    from (
        select * from in_time
        union all
        select * from later
    ) as gaps
    inner join summaries
        on gaps.summary_number = summaries.summary_number
    where gaps.next_day_microseconds <> 0
),

summed as (
    select
        summary_number,
        spent_on,
        known_on,
        sum(microseconds) as microseconds,
        sum(events_hash) as events_hash
    from learning
    group by summary_number, spent_on, known_on
)

select
    summaries.source,
    summaries.course_enrollment_key,
    summaries.learner_key,
    summaries.course_offering_key,
    summaries.occurred_on,
    summed.spent_on as activity_on,
    summed.known_on,
    cast(summed.microseconds * cast(0.000001 as decimal(7, 6)) as decimal(18, 6)) as learning_seconds,
    summed.events_hash,
    summaries.missing_item_id
from summed
inner join summaries
    on summed.summary_number = summaries.summary_number
where {{ is_stale_session("summaries.occurred_on", "summaries.source") }}
