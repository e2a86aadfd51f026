{#
    Dates on which fct_daily_activity differs from what int_events_resolved holds: those that a run has summarized anew,
    and those whose learners or enrollments arrived, changed or went away. Found by comparing fingerprints, so that an
    interrupted run is completed by the next one. Hooks of the model put them into a temporary table and delete them.
#}
{% macro find_stale_dates(relation) %}
    {%- if is_incremental() -%}
        {%- set columns = ["course_enrollment_key", "known_on"] + activity_measures() -%}
        {%- set fingerprint = "sum(" ~ row_hash(columns) ~ ") as fingerprint" -%}
        create or replace temporary table stale_dates as
        select
            coalesce(built.source, fresh.source) as source,
            coalesce(built.activity_on, fresh.activity_on) as activity_on
        from (
            select source, activity_on, {{ fingerprint }}
            from {{ relation }}
            group by source, activity_on
        ) as built
        full outer join (
            select source, activity_on, {{ fingerprint }}
            from {{ ref("int_events_resolved") }}
            where not is_held
            group by source, activity_on
        ) as fresh
            on built.source = fresh.source and built.activity_on = fresh.activity_on
        where built.fingerprint is distinct from fresh.fingerprint
    {%- endif -%}
{% endmacro %}


{% macro delete_stale_dates(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }} where (source, activity_on) in (select source, activity_on from stale_dates)
    {%- endif -%}
{% endmacro %}


{# What the model inserts: the dates found before, or all of them when the table is new. #}
{% macro is_stale_date(date_column) -%}
    {%- if is_incremental() -%}
    (source, {{ date_column }}) in (select stale_dates.source, stale_dates.activity_on from stale_dates)
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}
