-- What learners started and completed, and what they wrote in forums. Grain: one row per raw row.
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

enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

together as (
    select
        source,
        user_id,
        course_id,
        course_item_id as item_id,
        case course_progress_state_type_id when 2 then 'item_completed' else 'item_started' end as event_type,
        course_progress_ts as occurred_at,
        event_date as occurred_on
    from progress

    union all

    select
        source,
        user_id,
        course_id,
        null as item_id,
        'forum_thread' as event_type,
        discussion_question_created_ts as occurred_at,
        event_date as occurred_on
    from threads

    union all

    select
        source,
        user_id,
        course_id,
        null as item_id,
        'forum_reply' as event_type,
        discussion_answer_created_ts as occurred_at,
        event_date as occurred_on
    from replies
),

final as (
    select
        together.source,
        together.user_id as learner_id,
        together.course_id,
        coalesce(enrollments.term_id, 'open') as term_id,
        together.item_id,
        together.event_type,
        together.occurred_at,
        together.occurred_on,
        1 as click_count
    from together
    left join enrollments
        on
            together.source = enrollments.source
            and together.user_id = enrollments.learner_id
            and together.course_id = enrollments.course_id
)

{{ canonical_select("final", "events", absent=["event_id", "received_at"]) }}
