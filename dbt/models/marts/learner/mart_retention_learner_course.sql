-- Rows of the retention analysis: courses of the first term of learners whose first year is over.
-- Grain: one row per source × learner × program × course of the first term.
{{ in_slices(100000, ref("mart_learner_course")) }}

with learner_programs as (
    select * from {{ ref("mart_learner_program") }}
    where is_retained is not null
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

versions as (
    select * from {{ ref("mart_course_version") }}
),

program_offerings as (
    select * from {{ ref("dim_program_offering") }}
),

learner_courses as (
    select
        *,
        coalesce(is_withdrawn, false) as is_dropped
    from {{ ref("mart_learner_course") }}
    where {{ in_slice("course_offering_key") }}
),

enrollments as (
    select
        learner_programs.program_enrollment_key,
        learner_courses.*,
        program_offerings.offered_terms_share,
        offerings.course_version_key
    from learner_programs
    inner join learner_courses
        on learner_programs.learner_key = learner_courses.learner_key
    inner join program_offerings
        on
            learner_courses.course_offering_key = program_offerings.course_offering_key
            and learner_programs.program_key = program_offerings.program_key
            and learner_programs.first_term_key = program_offerings.term_key
    inner join offerings
        on learner_courses.course_offering_key = offerings.course_offering_key
),

-- All learners of these offerings, whatever their program and term.
takers as (
    select
        learner_courses.course_enrollment_key,
        learner_courses.course_offering_key,
        learner_courses.days_active,
        learner_courses.learning_hours,
        learner_courses.is_dropped,
        offerings.starts_on,
        versions.week_count
    from learner_courses
    inner join offerings
        on learner_courses.course_offering_key = offerings.course_offering_key
    left join versions
        on offerings.course_version_key = versions.course_version_key
    where learner_courses.course_offering_key in (select enrollments.course_offering_key from enrollments)
),

---------- the offering's other learners: median of their days. Without one value, the middle of a sorted list moves by
---------- at most one place, so three or four values of each offering are enough.

ranked as (
    select
        course_enrollment_key,
        course_offering_key,
        days_active,
        row_number() over (partition by course_offering_key order by days_active, course_enrollment_key) as place,
        count(*) over (partition by course_offering_key) as learner_count
    from takers
    where days_active is not null
),

-- Places, from 1, of the two middle ones among all but one.
middles as (
    select
        *,
        floor(learner_count / 2.0) as lower_place,
        floor((learner_count + 1) / 2.0) as upper_place
    from ranked
),

middle_values as (
    select
        course_offering_key,
        max(days_active) filter (where place = lower_place) as lower_days,
        max(days_active) filter (where place = lower_place + 1) as next_to_lower_days,
        max(days_active) filter (where place = upper_place) as upper_days,
        max(days_active) filter (where place = upper_place + 1) as next_to_upper_days
    from middles
    group by course_offering_key
),

medians as (
    select
        middles.course_enrollment_key,
        (
            case
                when middles.place <= middles.lower_place then middle_values.next_to_lower_days
                else middle_values.lower_days
            end
            + case
                when middles.place <= middles.upper_place then middle_values.next_to_upper_days
                else middle_values.upper_days
            end
        ) / cast(2 as double) as course_median_days_active
    from middles
    inner join middle_values
        on middles.course_offering_key = middle_values.course_offering_key
    where middles.learner_count > {{ var("smallest_course_group") }}
),

---------- their learning time, of those who stayed

minutes as (
    select
        course_enrollment_key,
        course_offering_key,
        week_count,
        case when is_dropped then 0 else 1 end as is_counted,
        case when is_dropped then 0 else {{ exact("learning_hours * 60 / week_count") }} end as minutes_per_week
    from takers
    where learning_hours is not null
),

means as (
    select
        course_enrollment_key,
        course_offering_key,
        week_count,
        sum(is_counted) over (partition by course_offering_key) - is_counted as other_count,
        sum(minutes_per_week) over (partition by course_offering_key) - minutes_per_week as other_minutes_per_week
    from minutes
    qualify sum(is_counted) over (partition by course_offering_key) - is_counted >= {{ var("smallest_course_group") }}
),

own_weeks as (
    select
        takers.course_enrollment_key,
        takers.course_offering_key,
        cast(floor({{ days_between("takers.starts_on", "days.activity_on") }} / 7.0) as integer) + 1 as week,
        sum(days.learning_seconds) as learning_seconds
    from {{ ref("fct_daily_activity") }} as days
    inner join takers
        on days.course_enrollment_key = takers.course_enrollment_key
    where
        {{ in_slice("days.course_offering_key") }}
        and not takers.is_dropped
        and days.learning_seconds is not null
        and days.activity_on >= takers.starts_on
        and {{ days_between("takers.starts_on", "days.activity_on") }} < 7 * takers.week_count
    group by
        takers.course_enrollment_key,
        takers.course_offering_key,
        cast(floor({{ days_between("takers.starts_on", "days.activity_on") }} / 7.0) as integer) + 1
),

course_weeks as (
    select
        course_offering_key,
        week,
        sum(learning_seconds) as learning_seconds
    from own_weeks
    group by
        course_offering_key,
        week
),

-- A week of the average learner, the row's own left out.
other_weeks as (
    select
        means.course_enrollment_key,
        means.week_count,
        course_weeks.week,
        {{ exact(
            "(course_weeks.learning_seconds - coalesce(own_weeks.learning_seconds, 0)) "
            ~ "/ cast(60 * means.other_count as double)"
        ) }} as learning_minutes
    from means
    inner join course_weeks
        on means.course_offering_key = course_weeks.course_offering_key
    left join own_weeks
        on
            means.course_enrollment_key = own_weeks.course_enrollment_key
            and course_weeks.week = own_weeks.week
),

patterns as (
    select
        course_enrollment_key,
        {{ weekly_variation("learning_minutes", "week_count") }} as learning_minutes_weekly_variation,
        {{ weekly_centroid("learning_minutes", "week", "week_count") }} as learning_minutes_centroid
    from other_weeks
    group by
        course_enrollment_key,
        week_count
)

select
    enrollments.source,
    enrollments.course_enrollment_key,
    enrollments.program_enrollment_key,
    enrollments.learner_key,
    enrollments.course_key,
    enrollments.course_version_key,
    enrollments.course_offering_key,
    learner_programs.program_key,
    learner_programs.first_term_key,
    learner_programs.program_id,

    ---------- outcome of the learner, and of the course
    learner_programs.is_retained,
    learner_programs.is_graduated,
    enrollments.is_dropped,

    ---------- learner × program
    {%- for column in learner_program_columns() %}
    learner_programs.{{ column }},
    {%- endfor %}

    ---------- design of the version taught
    enrollments.offered_terms_share,
    {%- for column in design_columns() %}
    versions.{{ column }},
    {%- endfor %}

    ---------- the learner's own behaviour
    {%- for column in own_behaviour_columns() %}
    enrollments.{{ column }},
    {%- endfor %}

    ---------- behaviour of the course's other learners
    medians.course_median_days_active,
    cast(means.other_minutes_per_week as double) / means.other_count as course_learning_minutes_per_week,
    patterns.learning_minutes_weekly_variation,
    patterns.learning_minutes_centroid
from enrollments
inner join learner_programs
    on enrollments.program_enrollment_key = learner_programs.program_enrollment_key
left join versions
    on enrollments.course_version_key = versions.course_version_key
left join medians
    on enrollments.course_enrollment_key = medians.course_enrollment_key
left join means
    on enrollments.course_enrollment_key = means.course_enrollment_key
left join patterns
    on enrollments.course_enrollment_key = patterns.course_enrollment_key
