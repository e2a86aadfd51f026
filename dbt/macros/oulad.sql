{# What several staging models of OULAD share. #}

{# First day of a presentation: B starts in February, J in October; the release gives the month, we take its first day. #}
{% macro oulad_presentation_start(code) -%}
    make_date(
        cast(substr({{ code }}, 1, 4) as integer),
        case substr({{ code }}, 5) when 'B' then 2 when 'J' then 10 end,
        1
    )
{%- endmacro %}


{# Sites and assessments are numbered apart: a prefix keeps an assessment's number from meeting a site's. #}
{% macro oulad_assessment_item(id) -%}
    'assessment-' || {{ id }}
{%- endmacro %}
