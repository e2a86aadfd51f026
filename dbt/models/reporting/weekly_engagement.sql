-- Enrolled and active learners of a course, week by week. Grain: one row per source × course × term × week.
with learner_weeks as (
    select * from {{ ref("mart_learner_course_week") }}
    where is_enrolled
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

grouped as (
    select
        source,
        course_offering_key,
        week_number,
        as_of_on,
        count(*) as enrolled_value,
        count(*) as active_of,
        count(case when last_week_click_count > 0 then 1 end) as active_value,
        count(case when last_week_click_count > 0 then null else 1 end) as active_rest,
        round(avg(last_week_click_count), 1) as mean_last_week_click_count,
        round(avg(last_week_active_days), 2) as mean_last_week_active_days,
        round(avg({{ exact("submitted_share") }}), 2) as mean_submitted_share,
        round(avg({{ exact("on_time_share") }}), 2) as mean_on_time_share
    from learner_weeks
    group by source, course_offering_key, week_number, as_of_on
),

-- One week less the next would tell who left: learners are counted in tens, shares in percents.
protected as (
    select
        *,
        {{ why_of_single_group("enrolled_value") }} as enrolled_why,
        {{ why_of_single_group("enrolled_value", "active_value", "active_rest") }} as active_why
    from grouped
)
{%- set measures = [{"name": "enrolled"}, {"name": "active", "words": "active", "rest": "", "of": ""}] %}

select
    protected.source,
    protected.course_offering_key,
    offerings.course_key,
    offerings.program_key,
    offerings.term_key,
    courses.course_name,
    offerings.term_id as term_name,
    protected.week_number,
    protected.as_of_on,
    {{ shown_measure(measures[0], is_rounded=true) }},
    {{ shown_measure(measures[1], is_rounded=true) }},
    {%- for column in [
        "mean_last_week_click_count", "mean_last_week_active_days", "mean_submitted_share", "mean_on_time_share",
    ] %}
    {{ shown_with("enrolled", column) }},
    {%- endfor %}
    {{ withheld_because(measures) }}
from protected
inner join offerings
    on protected.course_offering_key = offerings.course_offering_key
inner join {{ ref("dim_course") }} as courses
    on offerings.course_key = courses.course_key
