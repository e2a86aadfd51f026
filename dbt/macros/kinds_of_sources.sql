{# Which kinds of content the items of a source have: one row per source, one `has_<kind>` column per activity kind. #}
{% macro kinds_of_sources(items) %}
    select
        source
        {%- for kind in activity_kinds() %},
        bool_or(activity_kind = '{{ kind }}') as has_{{ kind }}
        {%- endfor %}
    from {{ items }}
    where not is_graded
    group by source
{%- endmacro %}


{# The columns of `kinds_of_sources`. #}
{% macro kind_flags() %}
    {% set columns = [] %}
    {% for kind in activity_kinds() %}{% do columns.append("has_" ~ kind) %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}
