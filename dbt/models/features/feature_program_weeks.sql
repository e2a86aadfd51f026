-- Weeks of learners in a program until it is known whether they stayed, with the cohort they are compared with.
-- Grain: one row per program enrollment and week since the first day of the first term.

with weeks as (
    select * from {{ ref("mart_learner_program_week") }}
),

enrollments as (
    select * from {{ ref("mart_learner_program") }}
),

terms as (
    select * from {{ ref("dim_term") }}
),

ends as (
    select
        program_enrollment_key,
        1 - cast(is_retained as integer) as y,
        next_year_state,
        retention_known_on
    from enrollments
),

-- Summed apart and not over windows, which would read all columns of all weeks for a few. All of the cohort count, also
-- those who have graduated or took leave.
term_weeks as (
    select
        source,
        first_term_key,
        week_number,
        count(*) as learner_count,
        count(*) filter (where not is_enrolled) as left_count,
        sum(course_count) as course_count,
        sum(left_course_count) as left_course_count
    from {{ ref("mart_learner_program_week") }}
    group by source, first_term_key, week_number
),

cohorts as (
    select
        term_weeks.source,
        {{ year_month("terms.starts_on") }} as term,
        term_weeks.week_number,
        sum(term_weeks.left_count) / cast(sum(term_weeks.learner_count) as double) as left_share,
        sum(term_weeks.left_course_count) / nullif(cast(sum(term_weeks.course_count) as double), 0) as left_course_share
    from term_weeks
    inner join terms on term_weeks.first_term_key = terms.term_key
    group by term_weeks.source, {{ year_month("terms.starts_on") }}, term_weeks.week_number
),

final as (
    select
        weeks.*,
        weeks.program_enrollment_key as enrollment_key,
        cast(null as {{ dbt.type_string() }}) as course_key,
        {{ year_month("terms.starts_on") }} as term,
        terms.starts_on,
        weeks.source || ':' || {{ year_month("terms.starts_on") }} as peer_group,
        cast(month(terms.starts_on) as {{ dbt.type_string() }}) as start_month,
        cohorts.left_share,
        cohorts.left_course_share,
        ends.y,
        ends.retention_known_on as known_on,
        cast(null as integer) as withdrawal_day,
        cast(10 * floor(weeks.age_years / 10) as integer) || 's' as age_group
    from weeks
    inner join terms on weeks.first_term_key = terms.term_key
    inner join ends on weeks.program_enrollment_key = ends.program_enrollment_key
    inner join cohorts
        on
            weeks.source = cohorts.source
            and {{ year_month("terms.starts_on") }} = cohorts.term
            and weeks.week_number = cohorts.week_number
    -- Who graduated or took leave is no example of leaving, nor of staying.
    where weeks.is_enrolled and coalesce(ends.next_year_state in ('retained', 'not_retained'), true)
)

-- All columns of the mart, whichever they are: a feature is a column there and nowhere else.
select * from final  -- noqa: AM04
