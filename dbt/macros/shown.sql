{# Fewest learners of a group with published figures: the setting minimum_group_size, which the runs hand over. #}
{% macro minimum_group_size() -%}
    {{ var("minimum_group_size", env_var("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "10")) | int }}
{%- endmacro %}


{#
    Figures of a group, each withheld (null) when the group is smaller than the setting `minimum_group_size`, or when
    `withheld` (a boolean column of `relation`) says so. `group_size` is one of the columns of `relation`.
#}
{% macro shown(relation, columns, group_size, withheld=none) -%}
    {%- for column in columns -%}
    case
        when
            {{ relation }}.{{ group_size }} >= {{ minimum_group_size() }}
            {%- if withheld %} and not {{ relation }}.{{ withheld }}{% endif %}
            then {{ relation }}.{{ column }}
    end as {{ column }}{{ ",\n    " if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#
    Whether a group's figure must be withheld although all groups of `partition` together are known: the group is too
    small, or the groups that are would be known without it. Withheld together are two groups at least, and as many
    learners as minimum_group_size; the smallest, so that as little as possible is lost (complementary suppression).
    Groups without anybody hide nobody.
#}
{% macro is_withheld(size, partition, tie) -%}
    {%- set order -%}
        partition by {{ partition | join(", ") }}
        order by case when {{ size }} > 0 then 0 else 1 end, {{ size }}, {{ tie }}
    {%- endset -%}
    coalesce(
        {{ size }} > 0
        and min(case when {{ size }} > 0 then {{ size }} end) over (partition by {{ partition | join(", ") }})
        < {{ minimum_group_size() }}
        and (
            {{ size }} < {{ minimum_group_size() }}
            or row_number() over ({{ order }}) <= 2
            or sum({{ size }}) over ({{ order }} rows between unbounded preceding and 1 preceding)
            < {{ minimum_group_size() }}
        ),
        false
    )
{%- endmacro %}


{# Whether one of these sizes is that of a group too small for a figure. #}
{% macro is_any_small(sizes) -%}
    (
        {%- for size in sizes %}
        {{ size }} between 1 and {{ minimum_group_size() }} - 1{{ " or" if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
