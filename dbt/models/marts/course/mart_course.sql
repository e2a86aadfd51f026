-- Courses over all their terms. Grain: one row per source × course.
with courses as (
    select * from {{ ref("dim_course") }}
),

offerings as (
    select
        course_key,
        count(*) as offering_count,
        min(starts_on) as first_starts_on,
        max(starts_on) as last_starts_on,
        avg(length_days) as mean_length_days,
        avg(graded_item_count) as mean_graded_item_count,
        bool_or(has_final_exam) as has_final_exam
    from {{ ref("mart_course_term") }}
    group by course_key
),

learner_courses as (
    select
        course_key,
        count(distinct learner_key) as learner_count,
        count(*) as enrollment_count,
        avg(case when previous_attempt_count > 0 then 1.0 when previous_attempt_count = 0 then 0.0 end)
            as repeated_attempt_share,
        avg(case when is_passed then 1.0 when not is_passed then 0.0 end) as passed_share,
        avg(case when is_withdrawn then 1.0 when not is_withdrawn then 0.0 end) as withdrawn_share,
        {{ quantile("click_count", 0.5) }} as median_click_count,
        {{ quantile("active_days", 0.5) }} as median_active_days,
        {{ quantile("weighted_score_share", 0.5) }} as median_weighted_score_share
    from {{ ref("mart_learner_course") }}
    group by course_key
)

select
    courses.source,
    courses.course_key,
    courses.program_key,
    courses.course_name,
    courses.course_type,
    cast(coalesce(offerings.offering_count, 0) as integer) as offering_count,
    offerings.first_starts_on,
    offerings.last_starts_on,
    offerings.mean_length_days,
    offerings.mean_graded_item_count,
    coalesce(offerings.has_final_exam, false) as has_final_exam,
    cast(coalesce(learner_courses.learner_count, 0) as integer) as learner_count,
    cast(coalesce(learner_courses.enrollment_count, 0) as integer) as enrollment_count,
    learner_courses.repeated_attempt_share,
    learner_courses.median_click_count,
    learner_courses.median_active_days,
    learner_courses.median_weighted_score_share,
    learner_courses.passed_share,
    learner_courses.withdrawn_share
from courses
left join offerings
    on courses.course_key = offerings.course_key
left join learner_courses
    on courses.course_key = learner_courses.course_key
