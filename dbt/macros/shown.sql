{# A figure of a group, withheld (null) when the group is smaller than the var `minimum_group_size`. #}
{% macro shown(figure, group_size) -%}
    case when {{ group_size }} >= {{ var("minimum_group_size") }} then {{ figure }} end
{%- endmacro %}
