{# Times of events, where DuckDB and Spark differ. #}

{# Times of events in order, as a list of microseconds, from what `kinds_and_times` made; null when none has a time. #}
{% macro event_times(kinds_and_times) %}
    {{- return(adapter.dispatch("event_times")(kinds_and_times)) -}}
{% endmacro %}

{% macro default__event_times(kinds_and_times) -%}
    list_transform({{ kinds_and_times }}, lambda code: {{ whole_quotient("code", 8) }})
{%- endmacro %}

{% macro spark__event_times(kinds_and_times) -%}
    transform({{ kinds_and_times }}, code -> {{ whole_quotient("code", 8) }})
{%- endmacro %}


{# The numbers of a group in order, as a list; null when there is none. An aggregate. #}
{% macro sorted_numbers(number) %}
    {{- return(adapter.dispatch("sorted_numbers")(number)) -}}
{% endmacro %}

{% macro default__sorted_numbers(number) -%}
    list_sort(list({{ number }}) filter (where {{ number }} is not null))
{%- endmacro %}

{% macro spark__sorted_numbers(number) -%}
    nullif(array_sort(collect_list({{ number }})), cast(array() as array<bigint>))
{%- endmacro %}


{# A time in microseconds as a timestamp. #}
{% macro moment_of(microseconds) %}
    {{- return(adapter.dispatch("moment_of")(microseconds)) -}}
{% endmacro %}

{% macro default__moment_of(microseconds) -%}
    make_timestamp({{ microseconds }})
{%- endmacro %}

{% macro spark__moment_of(microseconds) -%}
    cast(timestamp_micros({{ microseconds }}) as timestamp_ntz)
{%- endmacro %}


{# A number divided by another, as a whole number. #}
{% macro whole_quotient(number, divisor) %}
    {{- return(adapter.dispatch("whole_quotient")(number, divisor)) -}}
{% endmacro %}

{% macro default__whole_quotient(number, divisor) -%}
    {{ number }} // {{ divisor }}
{%- endmacro %}

{% macro spark__whole_quotient(number, divisor) -%}
    {{ number }} div {{ divisor }}
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
