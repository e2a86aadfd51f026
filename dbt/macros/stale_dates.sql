{#
    Dates on which fct_daily_activity differs from what int_events_resolved holds: those that a run has summarized anew,
    and those whose learners or enrollments arrived, changed or went away. Found by comparing fingerprints, so that an
    interrupted run is completed by the next one.
#}
{% macro delete_stale_dates(relation) %}
    {%- if is_incremental() -%}
        {%- set columns = ["course_enrollment_key", "known_on", "is_first_known", "event_count", "click_count"] + activity_click_columns() -%}
        delete from {{ relation }}
        where (source, activity_on) in (
            select coalesce(held.source, fresh.source), coalesce(held.activity_on, fresh.activity_on)
            from (
                select source, activity_on, sum({{ row_hash(columns) }}) as fingerprint
                from {{ relation }}
                group by source, activity_on
            ) as held
            full outer join (
                select source, activity_on, sum({{ row_hash(columns) }}) as fingerprint
                from {{ ref("int_events_resolved") }}
                where missing_reference is null
                group by source, activity_on
            ) as fresh
                on held.source = fresh.source and held.activity_on = fresh.activity_on
            where held.fingerprint is distinct from fresh.fingerprint
        )
    {%- endif -%}
{% endmacro %}
