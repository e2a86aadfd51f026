-- What learners started and completed, what they wrote in forums, and what their browsers told of pages and videos.
-- Grain: one row per raw row; of clicks delivered again, with one event_id.
-- No window function: filters on `source` and `occurred_on` must reach the partitions of raw.
with progress as (
    select * from {{ source("raw_coursera", "course_progress") }}
),

threads as (
    select * from {{ source("raw_coursera", "discussion_questions") }}
),

replies as (
    select * from {{ source("raw_coursera", "discussion_answers") }}
),

clicks as (
    select * from {{ source("raw_coursera", "clickstream") }}
    where
        user_id is not null
        and course_id is not null
),

enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

together as (
    select
        source,
        null as event_id,
        user_id,
        course_id,
        course_item_id as item_id,
        case course_progress_state_type_id when 2 then 'item_completed' else 'item_started' end as event_type,
        course_progress_ts as occurred_at,
        event_date as occurred_on,
        1 as click_count
    from progress

    union all

    select
        source,
        null as event_id,
        user_id,
        course_id,
        null as item_id,
        'forum_thread' as event_type,
        discussion_question_created_ts as occurred_at,
        event_date as occurred_on,
        1 as click_count
    from threads

    union all

    select
        source,
        null as event_id,
        user_id,
        course_id,
        null as item_id,
        'forum_reply' as event_type,
        discussion_answer_created_ts as occurred_at,
        event_date as occurred_on,
        1 as click_count
    from replies

    union all

    select
        source,
        {{ coursera_click_id() }} as event_id,
        user_id,
        course_id,
        {{ coursera_clicked_item("page", "value") }} as item_id,
        case
            when key = 'pageview' and split_part(page, '/', 1) in ('discussions', 'forum', 'discussionPrompt')
                then 'forum_view'
            {%- for key, kind in coursera_click_kinds().items() %}
            when key = '{{ key }}' then '{{ kind[0] }}'
            {%- endfor %}
            else key
        end as event_type,
        server_timestamp as occurred_at,
        event_date as occurred_on,
        case
            {%- for key, kind in coursera_click_kinds().items() if not kind[1] %}
            when key = '{{ key }}' then 0
            {%- endfor %}
            else 1
        end as click_count
    from clicks
),

final as (
    select
        together.source,
        together.event_id,
        together.user_id as learner_id,
        together.course_id,
        coalesce(enrollments.term_id, 'open') as term_id,
        together.item_id,
        together.event_type,
        together.occurred_at,
        together.occurred_on,
        together.click_count
    from together
    left join enrollments
        on
            together.source = enrollments.source
            and together.user_id = enrollments.learner_id
            and together.course_id = enrollments.course_id
)

{{ canonical_select("final", "events", absent=["received_at"]) }}
