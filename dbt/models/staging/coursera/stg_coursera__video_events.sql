-- What the clickstream tells of videos. Grain: one row per raw row; of clicks delivered again, with one event_id.
with clicks as (
    select
        *,
        {{ coursera_clicked_item("page", "value") }} as item_id,
        {{ coursera_click_number("value", "timecode", 1000000) }} as timecode,
        {{ coursera_click_number("value", "playback_rate", 100) }} as playback_rate
    from {{ source("raw_coursera", "clickstream") }}
    where
        user_id is not null
        and course_id is not null
),

enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

acted as (
    select
        source,
        {{ coursera_click_id() }} as event_id,
        user_id as learner_id,
        course_id,
        item_id,
        server_timestamp as occurred_at,
        playback_rate,
        timecode,
        {{ coursera_heartbeat_seconds() }} * coalesce(nullif(playback_rate, 0), 1) as beat_seconds,
        case key
            {%- for key, kind in coursera_click_kinds().items() if kind[2] %}
            when '{{ key }}' then '{{ kind[2] }}'
            {%- endfor %}
        end as action
    from clicks
    where item_id is not null
),

final as (
    select
        acted.*,
        coalesce(enrollments.term_id, 'open') as term_id,
        case when acted.action <> 'seek' then acted.timecode end as position_seconds,
        case when acted.action = 'heartbeat' then greatest(acted.timecode - acted.beat_seconds, 0) end as from_seconds,
        case when acted.action in ('seek', 'heartbeat') then acted.timecode end as to_seconds
    from acted
    left join enrollments
        on
            acted.source = enrollments.source
            and acted.learner_id = enrollments.learner_id
            and acted.course_id = enrollments.course_id
    where acted.action is not null
)

{{ canonical_select("final", "video_events", absent=["duration_seconds"]) }}
