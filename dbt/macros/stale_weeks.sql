{# Rows of mart_learner_course_week whose week is gone or has other inputs than those they were built from. #}
{% macro delete_stale_weeks(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }}
        where not exists (
            select 1
            from {{ ref("mart_course_week") }} as weeks
            where
                weeks.course_offering_key = {{ relation }}.course_offering_key
                and weeks.week_number = {{ relation }}.week_number
                and weeks.inputs_hash = {{ relation }}.inputs_hash
        )
    {%- endif -%}
{% endmacro %}
