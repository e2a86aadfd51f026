{# How something is spread over the weeks of a course, as in appendix table 2 of the retention report. Aggregates. #}

{#
    Centroid: sum of value × week, divided by the sum of the values and by the number of weeks. 1 when everything stands
    in the last week; null when there is nothing. The report's example, 0, 25, 25 and 50 % in four weeks, gives 0.8125.
    `value` is a whole number or a decimal (macro `exact`), over rows of items or of weeks alike.
#}
{% macro weekly_centroid(value, week, week_count) -%}
    cast(sum({{ value }} * {{ week }}) as double)
    / nullif(cast(sum({{ value }}) as double), 0)
    / {{ week_count }}
{%- endmacro %}


{#
    Coefficient of variation: population deviation over all weeks divided by the mean, weeks without a row as 0; null
    when there is nothing. `value` is a decimal (macro `exact`), one row per week. With n weeks it is
    sqrt(n Σx² − (Σx)²) / Σx: of decimals, hence 0 and not almost 0 when all weeks are equal.
#}
{% macro weekly_variation(value, week_count) -%}
    sqrt(cast(
        cast({{ week_count }} as decimal(4, 0)) * cast(sum({{ value }} * {{ value }}) as decimal(33, 18))
        - cast(sum({{ value }}) as decimal(18, 9)) * cast(sum({{ value }}) as decimal(18, 9))
        as double
    ))
    / nullif(cast(sum({{ value }}) as double), 0)
{%- endmacro %}
