-- Which seconds of videos were watched, and how often. Grain: one row per learner × course × term × item × stretch of
-- the video that was watched equally often.
{{ in_slices(4000000, "(" ~ union_contracts("video_events") ~ ")") }}

-- A play is paired with the last event before the next play of the learner and video that tells where the video stood:
-- when it moved forward, it was watched from the second of the one to that of the other, both included. Seconds are
-- numbered from 1. (The rule of fact_video_segments in Aspects, which has a row for each second.) Where heartbeats say
-- what the learner played of the video, they count instead.
with events as (
    {{ union_contracts("video_events", where=in_slice("learner_id")) }}
),

enrollments as (
    select * from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

-- Of several deliveries of an event one counts.
delivered as (
    select * from events
    where event_id is null

    union all

    select * from events
    where event_id is not null
    qualify row_number() over (
        partition by source, event_id
        order by position_seconds nulls last, from_seconds nulls last
    ) = 1
),

positioned as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        occurred_at,
        action = 'play' as is_play,
        cast(ceil(case when action = 'seek' then from_seconds else position_seconds end) as integer) as second
    from delivered
    where action in ('play', 'pause', 'seek', 'stop', 'complete')
),

numbered as (
    select
        *,
        sum(case when is_play then 1 else 0 end) over (
            partition by source, learner_id, course_id, term_id, item_id
            order by occurred_at, is_play, second
            rows between unbounded preceding and current row
        ) as play_number
    from positioned
),

placed as (
    select
        *,
        row_number() over (
            partition by source, learner_id, course_id, term_id, item_id, play_number, is_play
            order by occurred_at desc, second desc nulls last
        ) as place
    from numbered
    where play_number > 0
),

plays as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        play_number,
        greatest(max(case when is_play then second end), 1) as first_second,
        max(case when not is_play and place = 1 then second end) as last_second
    from placed
    group by source, learner_id, course_id, term_id, item_id, play_number
),

heartbeats as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        cast(floor(from_seconds + 0.5) as integer) + 1 as first_second,
        cast(floor(to_seconds + 0.5) as integer) as last_second
    from delivered
    where
        action = 'heartbeat'
        and from_seconds is not null
        and to_seconds is not null
),

heard as (
    select distinct
        source,
        learner_id,
        course_id,
        term_id,
        item_id
    from heartbeats
),

watched as (
    select
        plays.source,
        plays.learner_id,
        plays.course_id,
        plays.term_id,
        plays.item_id,
        plays.first_second,
        plays.last_second
    from plays
    left join heard
        on
            plays.source = heard.source
            and plays.learner_id = heard.learner_id
            and plays.course_id = heard.course_id
            and plays.term_id = heard.term_id
            and plays.item_id = heard.item_id
    where
        plays.last_second > plays.first_second
        and heard.source is null

    union all

    select *
    from heartbeats
    where last_second >= first_second
),

-- Where stretches begin and end, and by how much they change how often the video was watched from there on.
edges as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        first_second as second,
        1 as change
    from watched

    union all

    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        last_second + 1 as second,
        -1 as change
    from watched
),

summed as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        second,
        sum(change) as change
    from edges
    group by source, learner_id, course_id, term_id, item_id, second
    having sum(change) <> 0
),

stretches as (
    select
        *,
        sum(change) over (
            partition by source, learner_id, course_id, term_id, item_id
            order by second
            rows between unbounded preceding and current row
        ) as watch_count,
        lead(second) over (partition by source, learner_id, course_id, term_id, item_id order by second) as next_second
    from summed
)

select
    stretches.source,
    enrollments.course_enrollment_key,
    {{ entity_key(["learner_id"], "stretches") }} as learner_key,
    {{ entity_key(["course_id"], "stretches") }} as course_key,
    {{ entity_key(["course_id", "term_id"], "stretches") }} as course_offering_key,
    stretches.item_id,
    stretches.second as first_second,
    stretches.next_second - 1 as last_second,
    cast(stretches.watch_count as integer) as watch_count,
    stretches.next_second - stretches.second as watched_seconds
from stretches
inner join enrollments
    on
        stretches.source = enrollments.source
        and stretches.learner_id = enrollments.learner_id
        and stretches.course_id = enrollments.course_id
        and stretches.term_id = enrollments.term_id
where stretches.watch_count > 0
