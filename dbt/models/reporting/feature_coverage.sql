-- Which features of the retention report each source can fill. Grain: one row per source × mart × column.
{%- set marts = {
    "mart_learner_program": ["program_id"] + learner_program_columns() + ["is_retained"],
    "mart_course_version": design_columns(),
    "mart_learner_course": own_behaviour_columns(),
    "mart_course_term": ["offered_terms_share"],
    "mart_retention_learner_course": course_behaviour_columns(),
} %}

with
{%- for mart, columns in marts.items() %}
{{ mart }}_counted as (
    select
        source,
        {%- for column in columns %}
        count({{ column }}) as {{ column }},
        {%- endfor %}
        count(*) as row_count
    from {{ ref(mart) }}
    {%- if mart != "mart_learner_program" %}
    -- Open courses have no program and no terms.
    where program_key is not null
    {%- endif %}
    group by source
),
{% endfor %}
counted as (
    {%- for mart, columns in marts.items() %}
    {%- set last_mart = loop.last %}
    {%- for column in columns %}
    select
        source,
        '{{ mart }}' as mart_name,
        '{{ column }}' as mart_column,
        row_count,
        {{ column }} as filled_row_count
    from {{ mart }}_counted
    {%- if not (last_mart and loop.last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
),

drivers as (
    select
        mart_column,
        min(driver_id) as driver_id
    from {{ ref("driver_catalogue") }}
    group by mart_column
)

select
    counted.source,
    counted.mart_name,
    counted.mart_column,
    groups.control_group,
    drivers.driver_id,
    counted.row_count,
    counted.filled_row_count,
    counted.filled_row_count / nullif(cast(counted.row_count as double), 0) as filled_share,
    counted.filled_row_count > 0 as is_filled
from counted
left join {{ ref("driver_control_groups") }} as groups
    on counted.mart_column = groups.mart_column
left join drivers
    on counted.mart_column = drivers.mart_column
