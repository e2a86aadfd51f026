{#- A number as a sentence shows it, one digit after the point and none where it is zero: 12.9, 8, -1.2. -#}
{% macro number_in_words(expression) -%}
    case
        when round({{ expression }}, 1) = round({{ expression }}, 0)
            then cast(cast(round({{ expression }}, 0) as integer) as {{ dbt.type_string() }})
        else cast(cast(round({{ expression }}, 1) as decimal(18, 1)) as {{ dbt.type_string() }})
    end
{%- endmacro %}
