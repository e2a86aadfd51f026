{# What Coursera's export keeps in words and numbers of its own. #}

{# Kind of an item by the category of its type, in lower case without blanks. #}
{% macro coursera_item_kind(category, is_graded) -%}
    case
        when {{ category }} in ('lecture', 'video') then 'video'
        when {{ category }} in ('supplement', 'slideshow', 'reading') then 'reading'
        when {{ category }} in ('quiz', 'exam') then case when {{ is_graded }} then 'quiz' else 'practice' end
        when {{ category }} like '%peer%' then 'peer_graded'
        when {{ category }} like '%staffgraded%' then 'staff_graded'
        when {{ category }} like '%programming%' or {{ category }} like '%notebook%' then 'programming'
        when {{ category }} like '%discussion%' then 'discussion'
        when {{ category }} like '%lti%' or {{ category }} like '%widget%' then 'plugin'
        when {{ category }} like '%team%' then 'team'
        else 'other'
    end
{%- endmacro %}


{# Base and version of an id such as `dYJ3@5`. #}
{% macro coursera_base(id) -%}
    split_part({{ id }}, '@', 1)
{%- endmacro %}

{% macro coursera_version(id) -%}
    coalesce({{ dbt.safe_cast("split_part(" ~ id ~ ", '@', 2)", "integer") }}, 1)
{%- endmacro %}


{#
    The item of each quiz or assignment, by version of the course where it has any: source, the id, course_id, item_id.
    One that stands at several items of a course counts for the first by id.
#}
{% macro coursera_items_of(id, of_branches, of_courses) -%}
    select
        source,
        {{ id }},
        min(course_id) as course_id,
        min_by(course_item_id, course_id || ' ' || course_item_id) as item_id
    from (
        select
            of_versions.source,
            of_versions.{{ id }},
            versions.course_id,
            of_versions.course_item_id
        from {{ source("raw_coursera", of_branches) }} as of_versions
        inner join {{ source("raw_coursera", "course_branches") }} as versions
            on
                of_versions.source = versions.source
                and of_versions.course_branch_id = versions.course_branch_id

        union

        select
            source,
            {{ id }},
            course_id,
            course_item_id
        from {{ source("raw_coursera", of_courses) }}
    ) as placed
    group by source, {{ id }}
{%- endmacro %}


{#
    Kinds of events by the keys of the clickstream: what they are called in the entity events, whether the learner did
    something, and the action that they are in video_events, none for pages. Other keys keep their own names.
#}
{% macro coursera_click_kinds() %}
    {% do return({
        "start": ("video_played", 1, "play"),
        "play": ("video_played", 1, "play"),
        "pause": ("video_paused", 1, "pause"),
        "seek": ("video_seeked", 1, "seek"),
        "end": ("video_completed", 0, "complete"),
        "heartbeat": ("video_heartbeat", 0, "heartbeat"),
        "wait": ("video_waited", 0, "wait"),
        "playback_rate_change": ("video_speed_changed", 1, "speed"),
        "volume_change": ("video_volume_changed", 1, "volume"),
        "subtitle_change": ("video_interacted", 1, "interact"),
        "download_subtitle": ("video_interacted", 1, "interact"),
        "download_video": ("video_downloaded", 1, "download"),
        "pageview": ("page_viewed", 1, none),
        "page_requested": ("page_requested", 0, none),
        "page_preloaded": ("page_preloaded", 0, none),
    }) %}
{% endmacro %}


{# Seconds of play after which the player sends a heartbeat. #}
{% macro coursera_heartbeat_seconds() %}
    {% do return(5) %}
{% endmacro %}


{# Kinds of pages that have no item, though their address goes on. #}
{% macro coursera_pages_without_item() %}
    {% do return(["home", "module", "outline", "discussions", "forum", "resources"]) %}
{% endmacro %}


{# The item that a click names, else the one whose page it was made on. #}
{% macro coursera_clicked_item(page, value) -%}
    coalesce(
        {{ json_text(value, "'item_id'") }},
        case
            when split_part({{ page }}, '/', 1) not in ('{{ coursera_pages_without_item() | join("', '") }}')
                then nullif(split_part({{ page }}, '/', 2), '')
        end
    )
{%- endmacro %}


{# The same for every delivery of a click: the table has no id. #}
{% macro coursera_click_id() -%}
    md5(
        user_id || '|' || course_id || '|' || cast(server_timestamp as {{ dbt.type_string() }}) || '|' || key || '|'
        || coalesce(page, '') || '|' || coalesce(value, '')
    )
{%- endmacro %}


{# A number of a click's JSON; null where it is none, or not from 0 to the highest that can be. #}
{% macro coursera_click_number(value, key, highest) -%}
    case
        when {{ dbt.safe_cast(json_text(value, "'" ~ key ~ "'"), "double") }} between 0 and {{ highest }}
            then {{ dbt.safe_cast(json_text(value, "'" ~ key ~ "'"), "double") }}
    end
{%- endmacro %}
