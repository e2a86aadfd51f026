{#
    Figures of a group, each withheld (null) when the group is smaller than the var `minimum_group_size`. `group_size`
    is one of the columns of `relation`.
#}
{% macro shown(relation, columns, group_size) -%}
    {%- for column in columns -%}
    case when {{ relation }}.{{ group_size }} >= {{ var("minimum_group_size") }} then {{ relation }}.{{ column }} end
        as {{ column }}{{ ",\n    " if not loop.last }}
    {%- endfor %}
{%- endmacro %}
