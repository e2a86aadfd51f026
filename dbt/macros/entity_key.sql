{#
    Surrogate key of an entity: the source's name and the id's parts, joined by colons. Readable, the same in every run,
    and different between two sources that use the same ids. Colons within a part are written %3A, and % is %25: no two
    ids come to one key. Null when a part is null.
#}
{% macro entity_key(id_columns, relation=none) %}
    {%- set prefix = relation ~ "." if relation else "" -%}
    {{ prefix }}source
    {%- for column in id_columns %} || ':' || {{ key_part(prefix ~ column) }}{% endfor -%}
{% endmacro %}


{# An id as part of a key. #}
{% macro key_part(id) -%}
    replace(replace(cast({{ id }} as {{ dbt.type_string() }}), '%', '%25'), ':', '%3A')
{%- endmacro %}
