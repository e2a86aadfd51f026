{# What several staging models of Open edX share. #}

{# Kinds of video events, by the action that they are in the entity video_events. #}
{% macro openedx_video_actions() %}
    {% do return({
        "video_loaded": "load",
        "video_played": "play",
        "video_paused": "pause",
        "video_seeked": "seek",
        "video_stopped": "stop",
        "video_completed": "complete",
        "video_speed_changed": "speed",
        "video_interacted": "interact",
        "video_downloaded": "download",
    }) %}
{% endmacro %}


{#
    Kinds of events that are results or say again what another event says, and no activity of a learner: a submission
    is written by the browser, by the server and as a grade; the server's counts.
#}
{% macro openedx_kinds_without_activity() %}
    {% do return([
        "registered", "unregistered", "course_passed", "course_failed", "course_graded", "subsection_graded",
        "problem_scored", "problem_attempted", "question_answered", "certificate_created", "certificate_revoked",
        "unnamed",
    ]) %}
{% endmacro %}


{# The course of a key: organization and number, of `course-v1:org+number+run`, `ccx-v1:…` and `org/number/run`. #}
{% macro openedx_course(key) -%}
    split_part({{ openedx_key_parts(key) }}, '+', 1) || '+' || split_part({{ openedx_key_parts(key) }}, '+', 2)
{%- endmacro %}


{# The run of a course's key; of a custom course with its number, `run+ccx@1`. #}
{% macro openedx_run(key) -%}
    regexp_replace({{ openedx_key_parts(key) }}, '^[^+]*[+][^+]*[+]', '')
{%- endmacro %}


{% macro openedx_key_parts(key) -%}
    translate(regexp_replace({{ key }}, '^(course|ccx)-v1:', ''), '/', '+')
{%- endmacro %}


{# A key of a course, out of the address that stands for it in a statement. Keys of old courses have slashes. #}
{% macro openedx_course_key(address) -%}
    regexp_replace({{ address }}, '^https?://[^/]+/(.*?/)?course/', '')
{%- endmacro %}


{#
    The key of a block out of an address or out of itself, old and new; null where there is none. Old keys are also
    written with `;_` for slashes.
#}
{% macro openedx_block(address) -%}
    coalesce(
        nullif(regexp_extract({{ address }}, '((ccx-|lib-)?block-v1:[^/?#]+)', 1), ''),
        nullif(regexp_extract(replace({{ address }}, ';_', '/'), '(i4x://[^/]+/[^/]+/[^/]+/[^/?#]+)', 1), '')
    )
{%- endmacro %}


{# The block of a video event, which names it by its bare id: the course says the rest of the key. #}
{% macro openedx_video_block(course_key, id) -%}
    case
        when {{ course_key }} like 'course-v1:%'
            then 'block-v1:' || substr({{ course_key }}, 11) || '+type@video+block@' || {{ id }}
        when {{ course_key }} like 'ccx-v1:%'
            then 'ccx-block-v1:' || substr({{ course_key }}, 8) || '+type@video+block@' || {{ id }}
        when {{ course_key }} like '%/%/%'
            then
                'i4x://' || regexp_replace({{ course_key }}, '/[^/]*$', '') || '/video/'
                || regexp_replace({{ id }}, '^i4x-.*-video-', '')
    end
{%- endmacro %}


{# The type of a block, out of its key. #}
{% macro openedx_block_type(key) -%}
    coalesce(
        nullif(regexp_extract({{ key }}, '[+]type@([^+]+)[+]block@', 1), ''),
        nullif(regexp_extract({{ key }}, '^i4x://[^/]+/[^/]+/([^/]+)/', 1), '')
    )
{%- endmacro %}


{# The kind of a course item, by the type of its block. #}
{% macro openedx_item_kind(block_type) -%}
    case
        when {{ block_type }} in ('video', 'videoalpha') then 'video'
        when {{ block_type }} in ('html', 'pdf') then 'reading'
        when {{ block_type }} in ('problem', 'drag-and-drop-v2', 'library_content', 'itembank') then 'quiz'
        when {{ block_type }} in ('openassessment', 'combinedopenended') then 'peer_graded'
        when {{ block_type }} in ('edx_sga', 'staffgradedxblock') then 'staff_graded'
        when {{ block_type }} in ('discussion') then 'discussion'
        when {{ block_type }} in ('course', 'chapter', 'sequential', 'vertical') then 'navigation'
        when {{ block_type }} in ('lti', 'lti_consumer', 'scorm') then 'plugin'
        else 'other'
    end
{%- endmacro %}


{# Modes of an enrollment that are paid for. #}
{% macro openedx_is_paid(mode) -%}
    {{ mode }} in (
        'verified', 'professional', 'no-id-professional', 'credit', 'masters', 'executive-education',
        'paid-executive-education', 'paid-bootcamp'
    )
{%- endmacro %}


{# The columns that both kinds of events bring. #}
{% macro openedx_event_columns() %}
    {% do return([
        "source", "origin", "record_id", "occurred_on", "occurred_at", "external_id", "username", "user_id", "course_key",
        "course_name", "kind", "object_id", "block_id", "correct_map", "enrollment_mode", "attempt_number", "score",
        "maximum_score", "is_correct", "is_passing", "completion_share", "position_seconds", "from_seconds", "to_seconds",
        "duration_seconds", "playback_rate", "is_group", "has_failed",
    ]) %}
{% endmacro %}
