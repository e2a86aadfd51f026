-- What learners do. Grain: one row per raw row; of an event in a log and as a statement both, with one event_id.
-- No window function: filters on `source` and `occurred_on` must reach the partitions of raw.
with events as (
    select * from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind not in (
            {%- for kind in openedx_kinds_without_activity() %}
            '{{ kind }}'{{ "," if not loop.last }}
            {%- endfor %}
        )
),

final as (
    select
        source,
        event_id,
        learner_id,
        course_id,
        term_id,
        case when left(kind, 6) = 'forum_' then 'discussion' else block_id end as item_id,
        case when kind = 'block_completed' and completion_share >= 1 then 'item_completed' else kind end as event_type,
        occurred_at,
        occurred_on,
        1 as click_count
    from events
)

{{ canonical_select("final", "events", absent=["received_at"]) }}
