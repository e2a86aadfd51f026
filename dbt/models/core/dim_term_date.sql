-- Days of the terms with their teaching week. Grain: one row per source × program × term × day.
with terms as (
    select * from {{ ref("dim_term") }}
),

days as (
    select
        terms.source,
        terms.term_key,
        terms.program_key,
        steps.step,
        {{ add_days("terms.starts_on", "steps.step") }} as date_on
    from terms
    cross join {{ integers_between(0, days_between("terms.starts_on", "terms.ends_on"), "steps", "step") }}
)

select
    source,
    term_key,
    program_key,
    date_on,
    cast(step + 1 as integer) as day_of_term,
    cast(floor(step / 7.0) as integer) + 1 as teaching_week
from days
