-- Hand-ins of problems with their scores. Grain: one row per source × learner × course × run × block × attempt.
with events as (
    select * from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind in ('problem_checked', 'problem_scored')
        and block_id is not null
    qualify row_number() over (partition by source, event_id order by attempt_number nulls last, record_id) = 1
),

-- A problem is checked and its grade is written: twice the same. Grades alone stand for what staff and peers grade.
checked as (
    select
        *,
        bool_or(kind = 'problem_checked') over (partition by source, learner_id, course_key, block_id) as is_checked
    from events
),

final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        block_id as item_id,
        -- Not the attempt that the platform tells: it begins anew when staff reset a problem.
        row_number() over (
            partition by source, learner_id, course_key, block_id
            order by occurred_at, attempt_number, record_id
        ) as attempt_number,
        occurred_at as submitted_at,
        case when maximum_score > 0 then score end as score,
        case when maximum_score > 0 then maximum_score end as maximum_score,
        case {{ openedx_item_kind(openedx_block_type("block_id")) }}
            when 'peer_graded' then 'peer'
            when 'staff_graded' then 'staff'
            else 'automatic'
        end as graded_by,
        false as is_carried_over
    from checked
    where
        kind = 'problem_checked'
        or not is_checked
)

{{ canonical_select("final", "submissions", absent=["due_on", "submitted_on", "grade_released_at"]) }}
