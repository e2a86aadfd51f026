{# Aggregates and hashes, where DuckDB and Spark differ. #}

{# Quantile with linear interpolation; the share is between 0 and 1. #}
{% macro quantile(expression, share) %}
    {{- return(adapter.dispatch("quantile")(expression, share)) -}}
{% endmacro %}

{% macro default__quantile(expression, share) -%}
    quantile_cont({{ expression }}, {{ share }})
{%- endmacro %}

{% macro spark__quantile(expression, share) -%}
    percentile({{ expression }}, {{ share }})
{%- endmacro %}


{# 64-bit hash of several columns or of a whole row (the relation's alias), as a decimal that can be summed. #}
{% macro row_hash(expressions) %}
    {{- return(adapter.dispatch("row_hash")(expressions)) -}}
{% endmacro %}

{% macro default__row_hash(expressions) -%}
    cast(hash({{ expressions | join(", ") }}) as hugeint)
{%- endmacro %}

{% macro spark__row_hash(expressions) -%}
    cast(xxhash64({{ expressions | join(", ") }}) as decimal(38, 0))
{%- endmacro %}


{#
    A fraction as a decimal, to be summed or averaged: sums of doubles depend on the order in which threads add them up,
    and the same data must give the same tables. Nine digits after the point.
#}
{% macro exact(expression) -%}
    cast({{ expression }} as decimal(18, 9))
{%- endmacro %}


{# Share of a group's rows for which a condition holds, of those that know it. Spark's mean of decimals has five digits. #}
{% macro share_of(condition) %}
    {{- return(adapter.dispatch("share_of")(condition)) -}}
{% endmacro %}

{% macro default__share_of(condition) -%}
    avg(case when {{ condition }} then 1.0 when not {{ condition }} then 0.0 end)
{%- endmacro %}

{% macro spark__share_of(condition) -%}
    avg(case when {{ condition }} then 1.0d when not {{ condition }} then 0.0d end)
{%- endmacro %}


{# Distinct texts of a group, in alphabetical order, joined by comma and blank. #}
{% macro joined_text(expression) %}
    {{- return(adapter.dispatch("joined_text")(expression)) -}}
{% endmacro %}

{% macro default__joined_text(expression) -%}
    string_agg(distinct {{ expression }}, ', ' order by {{ expression }})
{%- endmacro %}

{% macro spark__joined_text(expression) -%}
    array_join(sort_array(collect_set({{ expression }})), ', ')
{%- endmacro %}
