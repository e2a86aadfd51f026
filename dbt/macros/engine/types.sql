{# Types of columns, where DuckDB and Spark differ. Casts in models write text as `dbt.type_string()`. #}

{# A type as the YAML files name it, in the engine's words. #}
{% macro column_type(type) %}
    {{- return(adapter.dispatch("column_type")(type)) -}}
{% endmacro %}

{% macro default__column_type(type) %}
    {% do return(type) %}
{% endmacro %}

{# Times have no zone: Spark's own timestamps are moments, shown in the zone of the session. #}
{% macro spark__column_type(type) %}
    {% do return({"varchar": "string", "timestamp": "timestamp_ntz", "hugeint": "decimal(38, 0)"}.get(type, type)) %}
{% endmacro %}


{# What dbt casts to when it compares a model with its contract. #}
{% macro spark__cast(field, type) -%}
    cast({{ field }} as {{ column_type(type) }})
{%- endmacro %}
