-- Lines of the tracking log as learning events. Grain: one row per raw row of the log; delivered again, it is there
-- again.
-- No window function and no join: filters on `source` and `occurred_on` reach the partitions of raw.
{{ config(materialized="view", contract={"enforced": false}) }}

with lines as (
    select * from {{ source("raw_openedx", "tracking_log") }}
),

named as (
    select
        *,
        coalesce(event_course_key, course_key) as named_course_key,
        case
            when name in ('edx.course.enrollment.activated', 'edx.course.enrollment.mode_changed') then 'registered'
            when name = 'edx.course.enrollment.deactivated' then 'unregistered'
            when name in ('edx.course.grade.now_passed', 'edx.course.grade.passed.first_time') then 'course_passed'
            when name = 'edx.course.grade.now_failed' then 'course_failed'
            when name = 'edx.grades.course.grade_calculated' then 'course_graded'
            when name = 'edx.grades.subsection.grade_calculated' then 'subsection_graded'
            when name = 'edx.grades.problem.submitted' then 'problem_scored'
            when name = 'problem_check' and event_source = 'server' then 'problem_checked'
            when name = 'problem_check' then 'problem_attempted'
            when name in ('problem_graded', 'problem_check_fail', 'save_problem_fail') then 'unnamed'
            -- What servers and staff do of themselves.
            when name like 'edx.grades.%' or name like 'edx.certificate.generation.%' or name like 'edx.cohort.%'
                then 'unnamed'
            when name = 'edx.problem.completed' then 'problem_completed'
            when name in ('showanswer', 'problem_show') then 'answer_shown'
            when name = 'edx.problem.hint.demandhint_displayed' then 'hint_shown'
            when name = 'edx.ui.lms.link_clicked' then 'link_clicked'
            when name = 'edx.ui.lms.outline.selected' then 'outline_selected'
            when name like 'edx.ui.lms.sequence.%' or name in ('seq_next', 'seq_prev', 'seq_goto')
                then 'sequence_navigated'
            when name = 'edx.completion.block_completion.changed' then 'block_completed'
            when name = 'edx.forum.thread.created' then 'forum_thread'
            when name in ('edx.forum.response.created', 'edx.forum.comment.created') then 'forum_reply'
            when name = 'edx.forum.thread.viewed' then 'forum_view'
            when name like 'edx.forum.%' then 'forum_' || regexp_replace(name, '^.*[.]', '')
            when name in ('load_video', 'edx.video.loaded') then 'video_loaded'
            when name in ('play_video', 'edx.video.played') then 'video_played'
            when name in ('pause_video', 'edx.video.paused') then 'video_paused'
            when name in ('seek_video', 'edx.video.position.changed') then 'video_seeked'
            when name in ('stop_video', 'edx.video.stopped') then 'video_stopped'
            when name = 'complete_video' then 'video_completed'
            when name in ('speed_change_video', 'edx.video.speed.changed') then 'video_speed_changed'
            when
                name in ('show_transcript', 'hide_transcript', 'video_show_cc_menu', 'video_hide_cc_menu')
                or name like 'edx.video.transcript.%' or name like 'edx.video.closed_captions.%'
                or name like 'edx.video.language_menu.%'
                then 'video_interacted'
            when name like 'edx.special_exam.%.attempt.created' then 'exam_started'
            when name like 'edx.special_exam.%.attempt.submitted' then 'exam_submitted'
            when name = 'edx.certificate.created' then 'certificate_created'
            when name = 'edx.certificate.revoked' then 'certificate_revoked'
            -- Requests for pages; those of a page's own scripts are no visit.
            when name like '/courses/%' and name not like '%/handler/%' and name not like '%/xblock/%'
                then 'page_viewed'
            when name like '/%' then 'unnamed'
            else name
        end as kind
    from lines
),

placed as (
    select
        *,
        coalesce(
            {{ openedx_block("object_id") }},
            case when left(kind, 6) = 'video_' then {{ openedx_video_block("named_course_key", "object_id") }} end,
            case when left(kind, 6) <> 'forum_' then {{ openedx_block("usage_key") }} end
        ) as block
    from named
),

final as (
    select
        source,
        'log' as origin,
        record_hash as record_id,
        event_date as occurred_on,
        occurred_at,
        null as external_id,
        -- The name is that of who is signed in: not of another learner, whom a member of staff enrolls or grades.
        coalesce(
            event_username,
            case when event_user_id is null or event_user_id = session_user_id then username end
        ) as username,
        coalesce(event_user_id, session_user_id) as user_id,
        named_course_key as course_key,
        null as course_name,
        kind,
        case
            when kind in (
                'registered', 'unregistered', 'course_passed', 'course_failed', 'course_graded', 'certificate_created',
                'certificate_revoked'
            ) then named_course_key
            when left(kind, 6) = 'forum_' then object_id
            when kind = 'page_viewed' then name
            when kind in ('link_clicked', 'outline_selected') then coalesce({{ openedx_block("object_id") }}, object_id)
            else coalesce(block, object_id)
        end as object_id,
        case
            when kind in ('link_clicked', 'outline_selected') then {{ openedx_block("object_id") }}
            when kind in (
                'registered', 'unregistered', 'course_passed', 'course_failed', 'course_graded', 'page_viewed',
                'certificate_created', 'certificate_revoked'
            ) or left(kind, 6) = 'forum_' then null
            else block
        end as block_id,
        case when kind = 'problem_checked' then correct_map end as correct_map,
        case when kind in ('registered', 'unregistered') then enrollment_mode end as enrollment_mode,
        attempt_number,
        case when kind <> 'problem_completed' then score end as score,
        case
            when kind = 'course_graded' then 1
            when kind <> 'problem_completed' then maximum_score
        end as maximum_score,
        case when kind = 'problem_checked' then success = 'correct' end as is_correct,
        case
            when kind = 'course_graded' then coalesce(letter_grade not in ('', 'Fail'), false)
            when kind in ('course_passed', 'course_failed') then kind = 'course_passed'
        end as is_passing,
        completion_share,
        case
            when kind = 'video_completed' then video_length_seconds
            when kind not in ('video_seeked', 'video_speed_changed') then video_seconds
        end as position_seconds,
        case when kind = 'video_seeked' then coalesce(video_from_seconds, video_seconds) end as from_seconds,
        case when kind = 'video_seeked' then video_to_seconds end as to_seconds,
        video_length_seconds as duration_seconds,
        try_cast(video_speed as double) as playback_rate,
        coalesce({{ json_key_count("correct_map") }} > 1, false) as is_group,
        exception is not null as has_failed
    from placed
)

select
    {{ openedx_event_columns() | join(",\n    ") }}
from final
