-- Finds weekly rows that count other activity than was known on their day. Grain: one row per such row.
-- When it fails: a feature reads something dated on or after `as_of_on`; a model trained on it would look ahead.
-- To resolve: let the fact enter by macro as_of_week with the date on which it became known.
-- Two weeks of each offering are recounted, straight from the facts.
{{ config(meta={"dagster": {"ref": {"name": "mart_learner_course_week"}}}) }}

with learner_weeks as (
    select * from {{ ref("mart_learner_course_week") }}
    where week_number in (3, 12)
),

activity as (
    select
        learner_weeks.course_enrollment_key,
        learner_weeks.week_number,
        sum(fct_daily_activity.click_count) as click_count,
        count(distinct fct_daily_activity.activity_on) filter (where fct_daily_activity.event_count > 0) as active_days,
        count(distinct fct_daily_activity.activity_on) filter (where fct_daily_activity.task_count > 0) as task_days,
        sum(fct_daily_activity.learning_seconds) as learning_seconds,
        max(fct_daily_activity.activity_on) filter (where fct_daily_activity.event_count > 0) as last_activity_on
    from learner_weeks
    inner join {{ ref("fct_daily_activity") }} as fct_daily_activity
        on
            learner_weeks.course_enrollment_key = fct_daily_activity.course_enrollment_key
            and learner_weeks.as_of_on > fct_daily_activity.known_on
    group by learner_weeks.course_enrollment_key, learner_weeks.week_number
)

select
    learner_weeks.course_enrollment_key,
    learner_weeks.week_number
from learner_weeks
left join activity
    on
        learner_weeks.course_enrollment_key = activity.course_enrollment_key
        and learner_weeks.week_number = activity.week_number
where
    learner_weeks.click_count <> coalesce(activity.click_count, 0)
    or learner_weeks.active_days <> coalesce(activity.active_days, 0)
    or learner_weeks.task_days <> coalesce(activity.task_days, 0)
    or learner_weeks.learning_minutes <> coalesce(activity.learning_seconds, 0) / cast(60 as double)
    or learner_weeks.since_last_activity_days
    is distinct from {{ days_between("activity.last_activity_on", "learner_weeks.as_of_on") }}
