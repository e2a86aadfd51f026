-- Weeks of learners still enrolled in a course, with the cohort they are compared with and how the course ended.
-- Grain: one row per course enrollment and week of the course.

with weeks as (
    select * from {{ ref("mart_learner_course_week") }}
),

enrollments as (
    select * from {{ ref("mart_learner_course") }}
),

course_weeks as (
    select * from {{ ref("mart_course_week") }}
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

sizes as (
    select
        course_offering_key,
        max(registered_count) as learner_count
    from course_weeks
    group by course_offering_key
),

cohorts as (
    select
        offerings.course_offering_key,
        offerings.starts_on,
        {{ year_month("offerings.starts_on") }} as term,
        case
            when sizes.learner_count >= {{ var("smallest_peer_group") }} then offerings.course_offering_key
            else offerings.source || ':' || {{ year_month("offerings.starts_on") }}
        end as peer_group
    from offerings
    inner join sizes on offerings.course_offering_key = sizes.course_offering_key
    where offerings.length_days <= {{ var("longest_course_days") }}
),

ends as (
    select
        course_enrollment_key,
        case when is_outcome_final then cast(is_failed_or_withdrawn as integer) end as y,
        outcome_known_on as known_on,
        unregistered_day as withdrawal_day
    from enrollments
),

final as (
    select
        weeks.*,
        weeks.course_enrollment_key as enrollment_key,
        cohorts.term,
        cohorts.starts_on,
        cohorts.peer_group,
        cast(month(cohorts.starts_on) as {{ dbt.type_string() }}) as start_month,
        ends.y,
        ends.known_on,
        ends.withdrawal_day,
        coalesce(
            weeks.age_band,
            cast(10 * floor((year(cohorts.starts_on) - weeks.birth_year) / 10.0) as integer) || 's'
        ) as age_group
    from weeks
    inner join cohorts on weeks.course_offering_key = cohorts.course_offering_key
    inner join ends on weeks.course_enrollment_key = ends.course_enrollment_key
    where weeks.is_enrolled
)

-- All columns of the mart, whichever they are: a feature is a column there and nowhere else.
select * from final  -- noqa: AM04
