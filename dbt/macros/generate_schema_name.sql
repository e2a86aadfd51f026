{# Schemas are named as in the architecture (staging, core, …), without dbt's `<target>_` prefix. #}
{% macro generate_schema_name(custom_schema_name, node) %}
    {{- custom_schema_name or target.schema -}}
{% endmacro %}
