{# What int_sessions_summarized reads of a row of int_events_summarized. #}
{% macro session_inputs() %}
    {% do return([
        "course_enrollment_key", "activity_on", "known_on", "received_on", "missing_item_id", "time_zone", "event_times",
    ]) %}
{% endmacro %}


{#
    Days of raw on which int_sessions_summarized differs from what int_events_summarized holds, and the days before them,
    whose last sessions these go on with. Found and replaced like the dates of fct_daily_activity.
#}
{% macro find_stale_sessions(relation) %}
    {%- if is_incremental() -%}
        create or replace temporary table stale_sessions as
        with changed as (
            select
                coalesce(built.source, fresh.source) as source,
                coalesce(built.occurred_on, fresh.occurred_on) as occurred_on
            from (
                select source, occurred_on, sum(events_hash) as fingerprint
                from {{ relation }}
                group by source, occurred_on
            ) as built
            full outer join (
                select source, occurred_on, sum({{ row_hash(session_inputs()) }}) as fingerprint
                from {{ ref("int_events_summarized") }}
                where event_times is not null
                group by source, occurred_on
            ) as fresh
                on built.source = fresh.source and built.occurred_on = fresh.occurred_on
            where built.fingerprint is distinct from fresh.fingerprint
        )

        select source, occurred_on from changed
        union
        select source, {{ add_days("occurred_on", -1) }} from changed
    {%- endif -%}
{% endmacro %}


{% macro delete_stale_sessions(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }} where (source, occurred_on) in (select source, occurred_on from stale_sessions)
    {%- endif -%}
{% endmacro %}


{# The days found before, or all of them when the table is new. #}
{% macro is_stale_session(date_column, source_column="source") -%}
    {%- if is_incremental() -%}
    ({{ source_column }}, {{ date_column }}) in (
        select stale_sessions.source, stale_sessions.occurred_on from stale_sessions
    )
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}
