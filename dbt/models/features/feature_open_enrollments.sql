-- Enrollments in courses and programs whose outcome is open at the data's end: whom the models of risk must score.
-- Grain: one row per outcome and enrollment.

with sources as (
    select * from {{ ref("dim_source") }}
),

-- The last week of a running course that ended within the last seven days.
course_weeks as (
    select
        weeks.*,
        row_number() over (partition by weeks.course_enrollment_key order by weeks.week_number desc) as place
    from {{ ref("mart_learner_course_week") }} as weeks
    inner join sources
        on weeks.source = sources.source
    where {{ days_between("weeks.as_of_on", "sources.last_data_on") }} between -1 and 5
),

open_courses as (
    select
        course_weeks.source,
        'failed_or_withdrawn' as outcome,
        course_weeks.course_enrollment_key as enrollment_key,
        course_weeks.learner_key,
        course_weeks.program_key,
        course_weeks.as_of_on
    from course_weeks
    inner join {{ ref("mart_learner_course") }} as courses
        on course_weeks.course_enrollment_key = courses.course_enrollment_key
    inner join {{ ref("dim_course_offering") }} as offerings
        on course_weeks.course_offering_key = offerings.course_offering_key
    where
        course_weeks.place = 1
        and course_weeks.is_enrolled
        and offerings.length_days <= {{ var("longest_course_days") }}
        and not (courses.is_outcome_final and courses.is_failed_or_withdrawn is not null)
),

started as (
    select
        learners.source,
        learners.program_enrollment_key,
        learners.learner_key,
        learners.program_key,
        learners.admitted_on,
        learners.retention_known_on,
        enrollments.completed_on,
        {{ add_days(
            "terms.starts_on",
            "7 * floor((" ~ days_between("terms.starts_on", "sources.last_data_on") ~ " + 1) / 7.0)"
        ) }} as as_of_on,
        {{ add_days("terms.starts_on", "7 * " ~ var("most_followed_weeks")) }} as followed_until_on
    from {{ ref("mart_learner_program") }} as learners
    inner join {{ ref("fct_program_enrollment") }} as enrollments
        on learners.program_enrollment_key = enrollments.program_enrollment_key
    inner join {{ ref("dim_program") }} as programs
        on learners.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learners.first_term_key = terms.term_key
    inner join sources
        on learners.source = sources.source
    where
        programs.program_type = 'degree'
        and {{ days_between("terms.starts_on", "sources.last_data_on") }} >= -1
        and learners.next_year_state is null
),

open_programs as (
    select
        source,
        'not_retained' as outcome,
        program_enrollment_key as enrollment_key,
        learner_key,
        program_key,
        as_of_on
    from started
    where
        coalesce(admitted_on < as_of_on, true)
        and coalesce(completed_on >= as_of_on, true)
        and (retention_known_on is not null or as_of_on <= followed_until_on)
)

select * from open_courses
union all
select * from open_programs
