-- What learners do to videos. Grain: one row per raw row; of an event in a log and as a statement both, with one
-- event_id.
with final as (
    select
        *,
        block_id as item_id,
        case kind
            {%- for kind, action in openedx_video_actions().items() %}
            when '{{ kind }}' then '{{ action }}'
            {%- endfor %}
        end as action
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and left(kind, 6) = 'video_'
        and block_id is not null
)

{{ canonical_select("final", "video_events") }}
