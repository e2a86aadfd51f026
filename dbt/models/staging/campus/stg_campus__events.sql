-- What learners do, as the platform logs it. Grain: one row per raw row.
with final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        event_type,
        occurred_at,
        event_date as occurred_on,
        greatest(event_date, cast(received_at as date)) as known_on,
        1 as click_count
    from {{ source("raw_campus", "events") }}
)

{{ canonical_select("final", "events") }}
