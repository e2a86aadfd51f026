{#- A number as a sentence shows it, one digit after the point and none where it is zero: 12.9, 8, -1.2. -#}
{% macro number_in_words(expression) -%}
    case
        when round({{ expression }}, 1) = round({{ expression }}, 0)
            then cast(cast(round({{ expression }}, 0) as integer) as {{ dbt.type_string() }})
        else cast(cast(round({{ expression }}, 1) as decimal(18, 1)) as {{ dbt.type_string() }})
    end
{%- endmacro %}

{#- The same with its sign: +12.9, -1.2, 0. -#}
{% macro change_in_words(expression) -%}
    case when round({{ expression }}, 1) > 0 then '+' else '' end || {{ number_in_words(expression) }}
{%- endmacro %}

{#- A share as so many of 100, nobody less than none or more than all: 72. -#}
{% macro of_hundred_in_words(share) -%}
    cast(cast(round(100 * least(greatest({{ share }}, 0), 1), 0) as integer) as {{ dbt.type_string() }})
{%- endmacro %}
