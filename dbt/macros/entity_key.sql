{#
    Surrogate key of an entity: the source's name and the id's parts, joined by colons. Readable, the same in every run,
    and different between two sources that use the same ids. Null when a part is null.
#}
{% macro entity_key(id_columns, relation=none) %}
    {%- set prefix = relation ~ "." if relation else "" -%}
    {{ prefix }}source
    {%- for column in id_columns %} || ':' || {{ prefix }}{{ column }}{% endfor -%}
{% endmacro %}
