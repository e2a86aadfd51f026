-- Statements as learning events. Grain: one row per raw row of the statements; delivered again, it is there again.
-- No window function and no join: filters on `source` and `occurred_on` reach the partitions of raw.
{{ config(materialized="view", contract={"enforced": false}) }}

with statements as (
    select
        *,
        coalesce(parent_id, '') as part_of,
        regexp_replace(verb, '^.*/', '') as verb_name,
        regexp_replace(coalesce(object_type, ''), '^.*/', '') as type_name
    from {{ source("raw_openedx", "statements") }}
),

named as (
    select
        *,
        case
            when verb_name = 'registered' then 'registered'
            when verb_name = 'unregistered' then 'unregistered'
            when verb_name = 'passed' then 'course_passed'
            when verb_name = 'failed' then 'course_failed'
            when verb_name = 'earned' and type_name = 'course' then 'course_graded'
            when verb_name = 'earned' then 'subsection_graded'
            when verb_name = 'attempted' and type_name = 'question' then 'problem_scored'
            when verb_name = 'attempted' then 'problem_attempted'
            -- A question of a problem of several: its parent is the problem, which has a statement of its own.
            when verb_name = 'evaluated' and part_of <> '' and parent_type not like '%/course' then 'question_answered'
            when verb_name = 'evaluated' then 'problem_checked'
            when verb_name = 'asked' and type_name = 'solution' then 'answer_shown'
            when verb_name = 'asked' then 'hint_shown'
            when verb_name = 'navigated' and type_name = 'link' then 'link_clicked'
            when verb_name = 'navigated' and type_name = 'module' then 'outline_selected'
            when verb_name = 'navigated' then 'sequence_navigated'
            when verb_name = 'progressed' then 'block_completed'
            when verb_name = 'posted' and object_id like '%/threads/%' then 'forum_thread'
            when verb_name = 'posted' then 'forum_reply'
            when verb_name = 'viewed' and type_name = 'discussion' then 'forum_view'
            when type_name = 'discussion' then 'forum_' || verb_name
            when verb_name = 'initialized' and type_name = 'video' then 'video_loaded'
            when verb_name = 'played' then 'video_played'
            when verb_name = 'paused' then 'video_paused'
            when verb_name = 'seeked' then 'video_seeked'
            when verb_name = 'terminated' and type_name = 'video' then 'video_stopped'
            when verb_name = 'completed' and type_name = 'video' then 'video_completed'
            when verb_name = 'interacted' and video_speed is not null then 'video_speed_changed'
            when verb_name = 'interacted' and type_name = 'video' then 'video_interacted'
            when verb_name = 'downloaded' and type_name = 'video' then 'video_downloaded'
            when verb_name = 'initialized' and type_name like '%assessment' then 'exam_started'
            when verb_name = 'terminated' and type_name like '%assessment' then 'exam_submitted'
            when verb_name = 'completed' then 'problem_completed'
            else verb_name
        end as kind,
        case
            when parent_type like '%/course' then {{ openedx_course_key("parent_id") }}
            when part_of <> '' and grouping_id is not null then {{ openedx_course_key("grouping_id") }}
            when type_name = 'course' then {{ openedx_course_key("object_id") }}
        end as course_key
    from statements
),

final as (
    select
        source,
        'statement' as origin,
        statement_id as record_id,
        event_date as occurred_on,
        occurred_at,
        actor_id as external_id,
        null as username,
        null as user_id,
        course_key,
        case when parent_type like '%/course' then parent_name end as course_name,
        kind,
        case
            when left(kind, 6) = 'forum_' then regexp_replace(object_id, '^.*/', '')
            when type_name = 'course' then course_key
            else coalesce({{ openedx_block("object_id") }}, object_id)
        end as object_id,
        case
            when type_name in ('course', 'discussion') then null
            when kind = 'question_answered' then {{ openedx_block("parent_id") }}
            when kind in ('link_clicked', 'outline_selected') then {{ openedx_block("object_id") }}
            else coalesce({{ openedx_block("object_id") }}, object_id)
        end as block_id,
        null as correct_map,
        case when kind in ('registered', 'unregistered') then enrollment_mode end as enrollment_mode,
        attempt_number,
        -- Some makers of statements give the share only.
        coalesce(score_raw, score_scaled) as score,
        case when score_raw is null and score_scaled is not null then 1 else score_max end as maximum_score,
        case when kind in ('problem_checked', 'question_answered') then is_success end as is_correct,
        case
            when kind = 'course_graded' then coalesce(letter_grade <> 'Fail', false)
            when kind in ('course_passed', 'course_failed') then kind = 'course_passed'
        end as is_passing,
        progress_percent / 100 as completion_share,
        video_seconds as position_seconds,
        video_from_seconds as from_seconds,
        video_to_seconds as to_seconds,
        video_length_seconds as duration_seconds,
        try_cast(replace(video_speed, 'x', '') as double) as playback_rate,
        coalesce(object_kind = 'GroupActivity', false) as is_group,
        false as has_failed
    from named
)

select
    {{ openedx_event_columns() | join(",\n    ") }}
from final
