-- Enrolled and active learners of a course, week by week. Grain: one row per source × course × term × week.
with learner_weeks as (
    select * from {{ ref("mart_learner_course_week") }}
    where is_enrolled
),

courses as (
    select * from {{ ref("dim_course") }}
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
        count(*) as enrolled_count,
        avg(case when last_week_click_count > 0 then 1.0 else 0.0 end) as active_share,
        avg(last_week_click_count) as mean_last_week_click_count,
        avg(last_week_active_days) as mean_last_week_active_days,
        avg({{ exact("submitted_share") }}) as mean_submitted_share,
        avg({{ exact("on_time_share") }}) as mean_on_time_share
    from learner_weeks
    group by source, course_offering_key, week_number, as_of_on
)

select
    grouped.source,
    grouped.course_offering_key,
    courses.course_name,
    offerings.term_id as term_name,
    grouped.week_number,
    grouped.as_of_on,
    {{ shown("grouped", [
        "enrolled_count", "active_share", "mean_last_week_click_count", "mean_last_week_active_days",
        "mean_submitted_share", "mean_on_time_share",
    ], "enrolled_count") }}
from grouped
inner join offerings
    on grouped.course_offering_key = offerings.course_offering_key
inner join courses
    on offerings.course_key = courses.course_key
