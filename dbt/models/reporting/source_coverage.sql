-- What each source brought and what is held back, by entity. Grain: one row per source × entity.
{%- set entities = {
    "learners": ["dim_learner", none],
    "programs": ["dim_program", none],
    "terms": ["dim_term", "starts_on"],
    "courses": ["dim_course", none],
    "course_offerings": ["dim_course_offering", "starts_on"],
    "course_items": ["dim_course_item", none],
    "program_enrollments": ["fct_program_enrollment", none],
    "course_enrollments": ["fct_course_enrollment", "registered_on"],
    "submissions": ["fct_submission", "submitted_on"],
    "daily_activity": ["fct_daily_activity", "activity_on"],
} %}

with counted as (
    {%- for entity, place in entities.items() %}
    select
        source,
        '{{ entity }}' as entity,
        count(*) as row_count,
        {{ "min(" ~ place[1] ~ ")" if place[1] else "cast(null as date)" }} as first_on,
        {{ "max(" ~ place[1] ~ ")" if place[1] else "cast(null as date)" }} as last_on
    from {{ ref(place[0]) }}
    group by source
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

held as (
    select
        source,
        case entity when 'events' then 'daily_activity' else entity end as entity,
        sum(row_count) as held_raw_row_count
    from {{ ref("fct_held_rows") }}
    group by source, case entity when 'events' then 'daily_activity' else entity end
),

named as (
    select
        source,
        entity
    from counted
    union
    select
        source,
        entity
    from held
)

select
    named.source,
    named.entity,
    coalesce(counted.row_count, 0) as row_count,
    counted.first_on,
    counted.last_on,
    cast(coalesce(held.held_raw_row_count, 0) as bigint) as held_raw_row_count
from named
left join counted
    on
        named.source = counted.source
        and named.entity = counted.entity
left join held
    on
        named.source = held.source
        and named.entity = held.entity
