{#
    First week of a course offering whose rows know what happened on a date: week w knows the days before day 7·w after
    the start. Days before the start belong to week 0 or, counted on, to negative weeks.
#}
{% macro as_of_week(starts_on, date) -%}
    (cast(floor({{ days_between(starts_on, date) }} / 7.0) as integer) + 1)
{%- endmacro %}


{# First week whose rows lie on a date or later, counted in the same way: 0 for the start itself. #}
{% macro begun_week(starts_on, date) -%}
    cast(ceil({{ days_between(starts_on, date) }} / 7.0) as integer)
{%- endmacro %}
