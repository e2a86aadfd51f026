{# JSON in columns of text, where DuckDB and Spark differ. #}

{# The text of a value of a JSON object; `key` is SQL, null where there is none. #}
{% macro json_text(json, key) %}
    {{- return(adapter.dispatch("json_text")(json, key)) -}}
{% endmacro %}

{% macro default__json_text(json, key) -%}
    json_extract_string({{ json }}, '$."' || {{ key }} || '"')
{%- endmacro %}

{% macro spark__json_text(json, key) -%}
    get_json_object({{ json }}, '$["' || {{ key }} || '"]')
{%- endmacro %}


{# The keys of a JSON object, as a list. #}
{% macro json_object_keys(json) %}
    {{- return(adapter.dispatch("json_object_keys")(json)) -}}
{% endmacro %}

{% macro default__json_object_keys(json) -%}
    json_keys({{ json }})
{%- endmacro %}

{% macro spark__json_object_keys(json) -%}
    json_object_keys({{ json }})
{%- endmacro %}


{# How many keys a JSON object has. #}
{% macro json_key_count(json) %}
    {{- return(adapter.dispatch("json_key_count")(json)) -}}
{% endmacro %}

{% macro default__json_key_count(json) -%}
    len({{ json_object_keys(json) }})
{%- endmacro %}

{% macro spark__json_key_count(json) -%}
    size({{ json_object_keys(json) }})
{%- endmacro %}
