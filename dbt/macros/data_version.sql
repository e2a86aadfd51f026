{#
    What a model was made from, written into ops.data_versions in the transaction that puts its rows in place. The var
    `data_versions` says it: {"built_at": …, "run_id": …, "tables": {"schema.table": [version, code, marker]}}. A model
    that is built without being told has no version, and the next planned run makes it again.
#}
{% macro note_data_version(relation) %}
    {%- if execute and target.type == "duckdb" -%}
        {%- set name = relation.schema ~ "." ~ relation.identifier -%}
        {%- set told = var("data_versions", {}) -%}
        delete from ops.data_versions where table_name = '{{ name }}';
        {%- if name in told.get("tables", {}) %}
        insert into ops.data_versions values (
            '{{ name }}', '{{ told["tables"][name] | join("', '") }}', timestamp '{{ told["built_at"] }}', '{{ told["run_id"] }}'
        );
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# The table, should nobody have made it yet: dbt is also run by hand. #}
{% macro create_data_versions() %}
    {%- if execute and target.type == "duckdb" -%}
        {%- do run_query("create schema if not exists ops") -%}
        {%- do run_query(
            "create table if not exists ops.data_versions (table_name varchar, data_version varchar, "
            ~ "code_version varchar, marker varchar, built_at timestamp, run_id varchar)"
        ) -%}
    {%- endif -%}
{% endmacro %}
