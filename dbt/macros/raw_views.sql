{#
    Makes every table of the contracts in use a view over the loader's Parquet, before anything else runs: `source()` is then a
    relation like any other, whose columns dbt and Dagster can follow, and an engineer can query raw in the build database.
    The types of the partition columns are stated: guessed ones would change with the rows, and a filter on a cast of them
    reads every file.
#}
{% macro create_raw_views() %}
    {{- return(adapter.dispatch("create_raw_views")()) -}}
{% endmacro %}

{% macro default__create_raw_views() %}
    {%- if execute -%}
        {%- set home = env_var("LEARNING_WAREHOUSE_HOME", "warehouse") -%}
        {%- for table in graph.sources.values() if table.meta.get("contract") in var("contracts") %}
            {%- set pattern = home ~ "/raw/" ~ table.meta.contract ~ "/" ~ table.name ~ "/**/*.parquet" -%}
            {%- set is_event_table = table.meta.get("event_date") or table.meta.get("event_time") -%}
            {%- do run_query("create schema if not exists " ~ table.schema) -%}
            {%- do run_query(
                "create or replace view " ~ table.schema ~ "." ~ adapter.quote(table.name)
                ~ " as select * from read_parquet('" ~ pattern | replace("'", "''")
                ~ "', hive_partitioning = true, union_by_name = true, hive_types = {source: varchar"
                ~ (", event_date: date" if is_event_table else "") ~ "})"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{# Spark runs the models on nothing yet: every source is a table without rows, of the columns that its YAML names. #}
{% macro spark__create_raw_views() %}
    {%- if execute -%}
        {%- for table in graph.sources.values() %}
            {%- set is_raw = table.meta.get("contract") in var("contracts") -%}
            {%- set columns = ["source string", "_file string", "_record bigint"] if is_raw else [] -%}
            {%- if table.meta.get("event_date") or table.meta.get("event_time") %}
                {%- do columns.append("event_date date") -%}
            {%- endif %}
            {%- for column in table.columns.values() if column.name not in ("source", "event_date") or not columns %}
                {%- do columns.append(adapter.quote(column.name) ~ " " ~ column_type(column.data_type)) -%}
            {%- endfor %}
            {%- do run_query("create schema if not exists " ~ table.schema) -%}
            {%- do run_query(
                "create table if not exists " ~ table.schema ~ "." ~ adapter.quote(table.name)
                ~ " (" ~ columns | join(", ") ~ ") using parquet"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}
