-- Requests of pages of courses. Grain: one row per raw row; redelivered ones repeat their event_id.
-- No window function: filters on `source` and `occurred_on` must reach the partitions of raw.
with requests as (
    select * from {{ source("raw_canvas", "web_logs") }}
),

offerings as (
    select * from {{ ref("stg_canvas__course_offerings") }}
),

-- What names a course that is not there is held back in core, and counted, until the course arrives.
final as (
    select
        requests.source,
        requests.id as event_id,
        requests.user_id as learner_id,
        requests.course_id,
        coalesce(offerings.term_id, 'unknown') as term_id,
        case
            when requests.web_application_controller in ('discussion_topics', 'discussion_entries') then 'forum_view'
            else requests.web_application_controller
        end as event_type,
        requests.timestamp as occurred_at,
        requests.event_date as occurred_on,
        1 as click_count
    from requests
    left join offerings
        on
            requests.source = offerings.source
            and requests.course_id = offerings.course_id
    where
        requests.user_id is not null
        and requests.course_id is not null
)

{{ canonical_select("final", "events", absent=["item_id", "received_at"]) }}
