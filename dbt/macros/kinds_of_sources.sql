{#
    Which kinds of items the events of a source can name: one row per source, one `has_<kind>` column per activity kind.
    Graded items among them: a quiz that is taken and an assignment that is opened are activity.
#}
{% macro kinds_of_sources(items) %}
    select
        source
        {%- for kind in activity_kinds() %},
        bool_or(activity_kind = '{{ kind }}') as has_{{ kind }}
        {%- endfor %}
    from {{ items }}
    where is_logged
    group by source
{%- endmacro %}


{# The columns of `kinds_of_sources`. #}
{% macro kind_flags() %}
    {% set columns = [] %}
    {% for kind in activity_kinds() %}{% do columns.append("has_" ~ kind) %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}
