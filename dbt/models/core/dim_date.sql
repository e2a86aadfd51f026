-- Calendar of all days that data or terms touch, in whole years. Grain: one row per day.
with bounds as (
    select
        make_date(year(min(day_on)), 1, 1) as first_on,
        make_date(year(max(day_on)), 12, 31) as last_on
    from (
        select starts_on as day_on from {{ ref("dim_term") }}
        union all
        select ends_on as day_on from {{ ref("dim_term") }}
        union all
        select first_data_on as day_on from {{ ref("dim_source") }}
        union all
        select last_data_on as day_on from {{ ref("dim_source") }}
    ) as touched
    where day_on is not null
),

days as (
    select {{ add_days("bounds.first_on", "steps.step") }} as date_on
    from bounds
    cross join {{ integers_between(0, days_between("bounds.first_on", "bounds.last_on"), "steps", "step") }}
)

select
    date_on,
    cast(year(date_on) as integer) as year_number,
    cast(quarter(date_on) as integer) as quarter_number,
    cast(month(date_on) as integer) as month_number,
    {{ month_name("date_on") }} as month_name,
    cast(day(date_on) as integer) as day_of_month,
    {{ iso_day_of_week("date_on") }} as day_of_week,
    {{ day_name("date_on") }} as day_name,
    {{ iso_year("date_on") }} as iso_year,
    cast(weekofyear(date_on) as integer) as iso_week,
    {{ iso_day_of_week("date_on") }} > 5 as is_weekend
from days
