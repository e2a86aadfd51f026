{#
    Finds rows with a value outside its range, and tells which. Nulls pass; a bound that is null does not bind.

    One test for all columns of a table: each test that dbt runs costs 30 ms, whatever it looks at.
#}
{% test in_range(model, ranges) %}
{%- set outside = {} -%}
{%- for column, (minimum, maximum) in ranges.items() -%}
    {%- set conditions = [] -%}
    {%- if minimum is not none -%}{%- do conditions.append(column ~ " < " ~ minimum) -%}{%- endif -%}
    {%- if maximum is not none -%}{%- do conditions.append(column ~ " > " ~ maximum) -%}{%- endif -%}
    {%- do outside.update({column: conditions | join(" or ")}) -%}
{%- endfor %}
select
    concat_ws(
        ', '
        {%- for column, condition in outside.items() %},
        case when {{ condition }} then concat('{{ column }} = ', cast({{ column }} as {{ type_string() }})) end
        {%- endfor %}
    ) as outside
from {{ model }}
where
    {{ outside.values() | join("\n    or ") }}
{% endtest %}
