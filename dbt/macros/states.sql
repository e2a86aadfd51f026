{# Later than any week: what has no end. #}
{% macro no_week() %}
    {% do return(1000000) %}
{% endmacro %}


{#
    Running sums of what enters mart_learner_course_week in single weeks, as states: each row holds from `week_number`
    until `next_week_number`. `also` is a further column.
#}
{% macro states(entering, sums, also=none) %}
    select
        enrollment_number,
        week_number,
        {%- if also %}
        {{ also }},
        {%- endif %}
        {%- for column in sums %}
        sum({{ column }}) over so_far as {{ column }},
        {%- endfor %}
        coalesce(lead(week_number) over (partition by enrollment_number order by week_number), {{ no_week() }})
            as next_week_number
    from {{ entering }}
    window so_far as (
        partition by enrollment_number
        order by week_number
        rows between unbounded preceding and current row
    )
{%- endmacro %}
