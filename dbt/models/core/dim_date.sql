-- Calendar of all days of the data, in whole years. Grain: one row per day.
{%- set days_of = {
    "dim_term": ["starts_on", "ends_on", "drop_deadline_on"],
    "dim_course_offering": ["starts_on", "ends_on"],
    "dim_profile": ["updated_on"],
    "fct_course_enrollment": ["registered_on", "unregistered_on", "completed_on", "outcome_known_on"],
    "fct_credential": ["issued_on"],
    "fct_daily_activity": ["activity_on", "known_on"],
    "fct_intervention": ["contacted_on", "known_on"],
    "fct_organization_membership": ["from_on", "to_on"],
    "fct_program_enrollment": ["admitted_on"],
    "fct_response": ["answered_on"],
    "fct_submission": ["submitted_on", "due_on", "score_known_on"],
    "fct_support_ticket": ["opened_on"],
} %}

with touched as (
    {%- for model, columns in days_of.items() %}
    {%- set outer = loop %}
    {%- for column in columns %}
    select
        min({{ column }}) as first_on,
        max({{ column }}) as last_on
    from {{ ref(model) }}
    -- Days that stand for "always" (0001-01-01, 9999-12-31) are none of a calendar.
    where {{ column }} between date '1900-01-01' and date '2100-12-31'
    {%- if not (loop.last and outer.last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
),

bounds as (
    select
        make_date(year(min(first_on)), 1, 1) as first_on,
        make_date(year(max(last_on)), 12, 31) as last_on
    from touched
    having min(first_on) is not null
),

days as (
    select {{ add_days("bounds.first_on", "steps.step") }} as date_on
    from bounds
    cross join {{ integers_between(0, days_between("bounds.first_on", "bounds.last_on"), "steps", "step") }}
),

terms as (
    select
        date_on,
        count(*) as term_count,
        min(teaching_week) as first_teaching_week,
        max(teaching_week) as last_teaching_week
    from {{ ref("dim_term_date") }}
    group by date_on
)

select
    days.date_on,
    cast(year(days.date_on) as integer) as year_number,
    cast(quarter(days.date_on) as integer) as quarter_number,
    cast(month(days.date_on) as integer) as month_number,
    {{ month_name("days.date_on") }} as month_name,
    cast(day(days.date_on) as integer) as day_of_month,
    {{ iso_day_of_week("days.date_on") }} as day_of_week,
    {{ day_name("days.date_on") }} as day_name,
    {{ iso_year("days.date_on") }} as iso_year,
    cast(weekofyear(days.date_on) as integer) as iso_week,
    {{ iso_day_of_week("days.date_on") }} > 5 as is_weekend,
    cast(coalesce(terms.term_count, 0) as integer) as term_count,
    case when terms.first_teaching_week = terms.last_teaching_week then terms.first_teaching_week end as teaching_week
from days
left join terms
    on days.date_on = terms.date_on
