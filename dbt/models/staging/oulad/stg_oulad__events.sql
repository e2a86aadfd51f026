-- Clicks in the learning environment. Grain: one row per raw row, a count of clicks of a student on a site on a day.
-- No window function and no join: filters on `source` and `occurred_on` must reach the partitions of raw.
with clicks as (
    select * from {{ source("raw_oulad", "studentVle") }}
),

final as (
    select
        source,
        id_student as learner_id,
        code_module as course_id,
        code_presentation as term_id,
        id_site as item_id,
        cast(event_date as date) as occurred_on,
        sum_click as click_count
    from clicks
)

{{ canonical_select("final", "events", absent=["event_id", "event_type", "occurred_at", "received_at"]) }}
