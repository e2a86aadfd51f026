-- Statements as learning events. Grain: one row per raw row of the statements; delivered again, it is there again.
-- No window function and no join: filters on `source` and `occurred_on` reach the partitions of raw. What tells the
-- kind has no regular expression: a filter by kind evaluates it anew in every branch.
{{ config(materialized="view", contract={"enforced": false}) }}

with statements as (
    select
        *,
        coalesce(parent_id, '') as part_of
    from {{ source("raw_openedx", "statements") }}
),

named as (
    select
        *,
        case
            when verb like '%/registered' then 'registered'
            when verb like '%/unregistered' then 'unregistered'
            when verb like '%/passed' then 'course_passed'
            when verb like '%/failed' then 'course_failed'
            when verb like '%/earned' and object_type like '%/course' then 'course_graded'
            when verb like '%/earned' then 'subsection_graded'
            when verb like '%/attempted' and object_type like '%/question' then 'problem_scored'
            when verb like '%/attempted' then 'problem_attempted'
            -- A question of a problem of several: its parent is the problem, which has a statement of its own.
            when verb like '%/evaluated' and part_of <> '' and parent_type not like '%/course' then 'question_answered'
            when verb like '%/evaluated' then 'problem_checked'
            when verb like '%/asked' and object_type like '%/solution' then 'answer_shown'
            when verb like '%/asked' then 'hint_shown'
            when verb like '%/navigated' and object_type like '%/link' then 'link_clicked'
            when verb like '%/navigated' and object_type like '%/module' then 'outline_selected'
            when verb like '%/navigated' then 'sequence_navigated'
            when verb like '%/progressed' then 'block_completed'
            when verb like '%/posted' and object_id like '%/threads/%' then 'forum_thread'
            when verb like '%/posted' then 'forum_reply'
            when verb like '%/viewed' and object_type like '%/discussion' then 'forum_view'
            when object_type like '%/discussion' then 'forum_' || split_part(verb, '/', -1)
            when verb like '%/initialized' and object_type like '%/video' then 'video_loaded'
            when verb like '%/played' then 'video_played'
            when verb like '%/paused' then 'video_paused'
            when verb like '%/seeked' then 'video_seeked'
            when verb like '%/terminated' and object_type like '%/video' then 'video_stopped'
            when verb like '%/completed' and object_type like '%/video' then 'video_completed'
            when verb like '%/interacted' and video_speed is not null then 'video_speed_changed'
            when verb like '%/interacted' and object_type like '%/video' then 'video_interacted'
            when verb like '%/downloaded' and object_type like '%/video' then 'video_downloaded'
            when verb like '%/initialized' and object_type like '%assessment' then 'exam_started'
            when verb like '%/terminated' and object_type like '%assessment' then 'exam_submitted'
            when verb like '%/completed' then 'problem_completed'
            else split_part(verb, '/', -1)
        end as kind,
        case
            when parent_type like '%/course' then {{ openedx_course_key("parent_id") }}
            when part_of <> '' and grouping_id is not null then {{ openedx_course_key("grouping_id") }}
            when object_type like '%/course' then {{ openedx_course_key("object_id") }}
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
            when object_type like '%/course' then course_key
            else coalesce({{ openedx_block("object_id") }}, object_id)
        end as object_id,
        case
            when object_type like '%/course' or object_type like '%/discussion' then null
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
