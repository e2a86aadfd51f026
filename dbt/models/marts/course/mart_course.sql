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
        bool_or(has_final_exam) as has_final_exam,
        max_by(offered_terms_share, (starts_on, course_offering_key)) as offered_terms_share
    from {{ ref("mart_course_term") }}
    group by course_key
),

learner_courses as (
    select
        course_key,
        count(distinct learner_key) as learner_count,
        count(*) as enrollment_count,
        {{ share_of("previous_attempt_count > 0") }} as repeated_attempt_share,
        bool_or(is_self_paced) as is_self_paced,
        {{ outcome_figures() }},
        {{ quantile("click_count", 0.5) }} as median_click_count,
        {{ quantile("active_days", 0.5) }} as median_active_days,
        {{ quantile("weighted_score_share", 0.5) }} as median_weighted_score_share
    from {{ ref("mart_learner_course") }}
    group by course_key
),

latest_versions as (
    select * from {{ ref("mart_course_version") }}
    qualify row_number() over (
        partition by course_key
        order by last_starts_on desc, course_version_key desc
    ) = 1
),

---------- learning in terms that have ended: every learner's days, the time of those who stayed

ended as (
    select
        enrollments.course_enrollment_key,
        enrollments.course_key,
        enrollments.days_active,
        case when not coalesce(enrollments.is_withdrawn, false) then enrollments.learning_hours end as learning_hours,
        versions.week_count,
        dim_course_offering.starts_on
    from {{ ref("mart_learner_course") }} as enrollments
    inner join {{ ref("dim_course_offering") }} as dim_course_offering
        on enrollments.course_offering_key = dim_course_offering.course_offering_key
    inner join {{ ref("mart_course_version") }} as versions
        on dim_course_offering.course_version_key = versions.course_version_key
    inner join {{ ref("dim_source") }} as dim_source
        on enrollments.source = dim_source.source
    where dim_course_offering.ends_on <= dim_source.last_data_on
),

learning as (
    select
        course_key,
        count(learning_hours) as learner_count,
        {{ quantile("days_active", 0.5) }} as median_days_active,
        cast(avg({{ exact("learning_hours * 60 / week_count") }}) as double) as learning_minutes_per_week
    from ended
    group by course_key
),

learning_weeks as (
    select
        ended.course_key,
        cast(floor({{ days_between("ended.starts_on", "days.activity_on") }} / 7.0) as integer) + 1 as week,
        sum(days.learning_seconds) as learning_seconds
    from {{ ref("fct_daily_activity") }} as days
    inner join ended
        on days.course_enrollment_key = ended.course_enrollment_key
    where
        ended.learning_hours is not null
        and days.learning_seconds is not null
        and days.activity_on >= ended.starts_on
        and {{ days_between("ended.starts_on", "days.activity_on") }} < 7 * ended.week_count
    group by
        ended.course_key,
        cast(floor({{ days_between("ended.starts_on", "days.activity_on") }} / 7.0) as integer) + 1
),

-- A week of the average learner.
average_weeks as (
    select
        learning_weeks.course_key,
        learning_weeks.week,
        latest_versions.week_count,
        {{ exact("learning_weeks.learning_seconds / cast(60 * learning.learner_count as double)") }} as learning_minutes
    from learning_weeks
    inner join learning
        on learning_weeks.course_key = learning.course_key
    inner join latest_versions
        on
            learning_weeks.course_key = latest_versions.course_key
            and learning_weeks.week <= latest_versions.week_count
),

learning_patterns as (
    select
        course_key,
        {{ weekly_variation("learning_minutes", "week_count") }} as learning_minutes_weekly_variation,
        {{ weekly_centroid("learning_minutes", "week", "week_count") }} as learning_minutes_centroid
    from average_weeks
    group by
        course_key,
        week_count
)

select
    courses.source,
    courses.course_key,
    courses.program_key,
    latest_versions.course_version_key as latest_course_version_key,
    courses.course_name,
    courses.course_type,
    cast(coalesce(offerings.offering_count, 0) as integer) as offering_count,
    offerings.first_starts_on,
    offerings.last_starts_on,
    offerings.mean_length_days,
    offerings.mean_graded_item_count,
    coalesce(offerings.has_final_exam, false) as has_final_exam,

    ---------- design of the latest version
    offerings.offered_terms_share,
    {%- for column in design_columns() %}
    latest_versions.{{ column }},
    {%- endfor %}

    ---------- learners
    cast(coalesce(learner_courses.learner_count, 0) as integer) as learner_count,
    cast(coalesce(learner_courses.enrollment_count, 0) as integer) as enrollment_count,
    learner_courses.repeated_attempt_share,
    learner_courses.median_click_count,
    learner_courses.median_active_days,
    learner_courses.median_weighted_score_share,
    {%- for count in ["final_outcome_count", "running_count"] %}
    cast(case when not learner_courses.is_self_paced then learner_courses.{{ count }} end as integer) as {{ count }},
    {%- endfor %}
    learner_courses.passed_share,
    learner_courses.withdrawn_share,
    {%- for count in ["completed_count", "not_completed_count"] %}
    cast(case when learner_courses.is_self_paced then learner_courses.{{ count }} end as integer) as {{ count }},
    {%- endfor %}
    learner_courses.completed_share,

    ---------- learning, all learners
    learning.median_days_active as all_learners_median_days_active,
    learning.learning_minutes_per_week as all_learners_learning_minutes_per_week,
    learning_patterns.learning_minutes_weekly_variation as all_learners_learning_minutes_weekly_variation,
    learning_patterns.learning_minutes_centroid as all_learners_learning_minutes_centroid
from courses
left join offerings
    on courses.course_key = offerings.course_key
left join latest_versions
    on courses.course_key = latest_versions.course_key
left join learner_courses
    on courses.course_key = learner_courses.course_key
left join learning
    on courses.course_key = learning.course_key
left join learning_patterns
    on courses.course_key = learning_patterns.course_key
