{# Times of events, where DuckDB and Spark differ. #}

{# Times of a group's events in order, as a list of microseconds; null when no event has a time. An aggregate. #}
{% macro event_times(timestamp) %}
    {{- return(adapter.dispatch("event_times")(timestamp)) -}}
{% endmacro %}

{% macro default__event_times(timestamp) -%}
    list_sort(list({{ microseconds(timestamp) }}) filter (where {{ timestamp }} is not null))
{%- endmacro %}

{% macro spark__event_times(timestamp) -%}
    nullif(array_sort(collect_list({{ microseconds(timestamp) }})), cast(array() as array<bigint>))
{%- endmacro %}


{# A time in microseconds, as these lists hold it. #}
{% macro microseconds(timestamp) %}
    {{- return(adapter.dispatch("microseconds")(timestamp)) -}}
{% endmacro %}

{% macro default__microseconds(timestamp) -%}
    epoch_us({{ timestamp }})
{%- endmacro %}

{% macro spark__microseconds(timestamp) -%}
    unix_micros(cast({{ timestamp }} as timestamp))
{%- endmacro %}


{# The elements of a list as rows of `alias`(`column`), to be used after `cross join`. #}
{% macro elements_of(list, alias, column) %}
    {{- return(adapter.dispatch("elements_of")(list, alias, column)) -}}
{% endmacro %}

{% macro default__elements_of(list, alias, column) -%}
    unnest({{ list }}) as {{ alias }} ({{ column }})
{%- endmacro %}

{% macro spark__elements_of(list, alias, column) -%}
    lateral explode({{ list }}) as {{ alias }} ({{ column }})
{%- endmacro %}
