-- What learners do, as the platform logs it. Grain: one row per raw row; redelivered ones repeat their event_id.
-- No window function and no join: filters on `source` and `occurred_on` must reach the partitions of raw.
with events as (
    select * from {{ source("raw_campus", "events") }}
),

final as (
    select
        source,
        event_id,
        learner_id,
        course_id,
        term_id,
        item_id,
        event_type,
        occurred_at,
        event_date as occurred_on,
        received_at,
        1 as click_count
    from events
)

{{ canonical_select("final", "events") }}
