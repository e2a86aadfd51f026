{# The table of a contract as dbt knows it (columns, meta), or none while dbt parses. #}
{% macro contract_table(source_name, table_name) %}
    {% if execute %}
        {% for node in graph.sources.values() if node.source_name == source_name and node.name == table_name %}
            {% do return(node) %}
        {% endfor %}
        {% do exceptions.raise_compiler_error("No table '" ~ table_name ~ "' in the contract '" ~ source_name ~ "'.") %}
    {% endif %}
    {% do return(none) %}
{% endmacro %}


{# Natural key of a contract's table, as its sources YAML states it; empty: every row counts. #}
{% macro contract_key(source_name, table_name) %}
    {% set node = contract_table(source_name, table_name) %}
    {% do return(node.meta.get("key", []) if node else []) %}
{% endmacro %}


{#
    Rows of a raw table, one per source and natural key: of several, the one from the last file (by logical name), and
    in it the last record, so that the same files give the same row whatever the order of loading.
#}
{% macro deduplicated(source_name, table_name) %}
    {%- set key = contract_key(source_name, table_name) -%}
    select *
    from {{ source(source_name, table_name) }}
    {%- if key %}
    qualify row_number() over (partition by source, {{ key | join(", ") }} order by _file desc, _record desc) = 1
    {%- endif %}
{%- endmacro %}


{# Rows of the given raw tables before and after `deduplicated`, as the canonical entity raw_rows. #}
{% macro counted_rows(source_name, tables) %}
    {%- for table_name in tables %}
    {%- set key = contract_key(source_name, table_name) %}
    select
        source,
        '{{ table_name }}' as table_name,
        count(*) as raw_row_count,
        {% if key -%}
        count(distinct ({{ key | join(", ") }}))
        {%- else -%}
        cast(null as bigint)
        {%- endif %} as distinct_row_count
    from {{ source(source_name, table_name) }}
    group by source
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{%- endmacro %}
