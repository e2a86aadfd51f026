{# What models of the times of single events share. #}

{# Gaps between events that are longer count nothing: the rules of institutional research, in minutes. #}
{% macro gap_limits() %}
    {% do return([5, 30]) %}
{% endmacro %}


{# Kinds of activity whose time is told apart. #}
{% macro timed_kinds() %}
    {% do return(["video", "problem", "forum", "text"]) %}
{% endmacro %}


{# Columns that count events by their types. #}
{% macro timed_counts() %}
    {% do return({
        "play_count": ["video_played"],
        "pause_count": ["video_paused"],
        "seek_count": ["video_seeked"],
        "transcript_count": ["video_interacted"],
        "problem_check_count": ["problem_checked"],
        "answer_shown_count": ["answer_shown"],
        "sequence_count": ["sequence_navigated"],
        "page_count": ["page_viewed", "page_view"],
        "forum_view_count": ["forum_view"],
        "forum_post_count": ["forum_thread", "forum_reply"],
        "completed_item_count": ["item_completed"],
    }) %}
{% endmacro %}


{# Columns of time by the gap rules, in microseconds. #}
{% macro timed_gaps() %}
    {% set columns = [] %}
    {% for limit in gap_limits() %}
        {% do columns.append("total_" ~ limit ~ "_microseconds") %}
        {% for kind in timed_kinds() %}
            {% do columns.append(kind ~ "_" ~ limit ~ "_microseconds") %}
            {% do columns.append("serial_" ~ kind ~ "_" ~ limit ~ "_microseconds") %}
        {% endfor %}
    {% endfor %}
    {% do return(columns) %}
{% endmacro %}


{# All measures of the table, besides distinct items. #}
{% macro timed_measures() %}
    {% set columns = ["event_count"] %}
    {% for kind in timed_kinds() %}{% do columns.append(kind ~ "_event_count") %}{% endfor %}
    {% do return(columns + timed_counts().keys() | list + ["gap_count", "gap_microseconds"] + timed_gaps()) %}
{% endmacro %}


{# Fingerprint of a day of int_events_summarized, from which int_timed_activity follows. #}
{% macro timed_day_hash() -%}
    sum({{ row_hash([
        "course_enrollment_key", "event_count", "missing_item_id", "event_times",
    ] + activity_click_columns() + counted_event_types().keys() | list) }})
{%- endmacro %}


{#
    Days of raw that int_timed_activity computes anew, as literals: those that the run summarizes anew by the var
    `rebuild`, and those on which int_events_summarized is otherwise than it was when the day was computed.
#}
{% macro timed_days_to_rebuild(date_column) %}
    {%- if not (execute and is_incremental()) or flags.WHICH not in ["run", "build"] -%}
        {%- do return("true") -%}
    {%- endif -%}
    {%- set changed = run_query(
        "with built as (select distinct source, activity_on, day_hash from " ~ this ~ "), fresh as (select source,"
        ~ " occurred_on as activity_on, " ~ timed_day_hash() ~ " as day_hash from " ~ ref("int_events_summarized")
        ~ " where event_times is not null group by source, occurred_on), days as (select coalesce(built.source,"
        ~ " fresh.source) as source, coalesce(built.activity_on, fresh.activity_on) as activity_on from built"
        ~ " full outer join fresh on built.source = fresh.source and built.activity_on = fresh.activity_on"
        ~ " where built.day_hash is distinct from fresh.day_hash union select source, activity_on from fresh where "
        ~ rebuild_predicate("activity_on") ~ ") select source, cast(activity_on as " ~ dbt.type_string()
        ~ ") from days order by 1, 2"
    ) -%}
    {%- set days = {} -%}
    {%- for row in changed.rows -%}
        {%- do days.setdefault(row[0], []).append(date_literal(row[1])) -%}
    {%- endfor -%}
    {%- set predicates = [] -%}
    {%- for source, literals in days.items() -%}
        {%- do predicates.append(
            "(source = '" ~ source | replace("'", "''") ~ "' and " ~ date_column ~ " in (" ~ literals | join(", ") ~ "))"
        ) -%}
    {%- endfor -%}
    {%- do return("(" ~ predicates | join(" or ") ~ ")" if predicates else "false") -%}
{% endmacro %}


{% macro delete_timed_days(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }} where {{ timed_days_to_rebuild("activity_on") }}
    {%- endif -%}
{% endmacro %}
