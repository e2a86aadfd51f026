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

final as (
    select
        weeks.*,
        weeks.program_enrollment_key as enrollment_key,
        cast(null as {{ dbt.type_string() }}) as course_key,
        {{ year_month("terms.starts_on") }} as term,
        terms.starts_on,
        weeks.source || ':' || {{ year_month("terms.starts_on") }} as peer_group,
        cast(month(terms.starts_on) as {{ dbt.type_string() }}) as start_month,
        ends.y,
        ends.retention_known_on as known_on,
        cast(null as integer) as withdrawal_day,
        cast(10 * floor(weeks.age_years / 10) as integer) || 's' as age_group
    from weeks
    inner join terms on weeks.first_term_key = terms.term_key
    inner join ends on weeks.program_enrollment_key = ends.program_enrollment_key
    -- Who graduated or took leave is no example of leaving, nor of staying.
    where weeks.is_enrolled and coalesce(ends.next_year_state in ('retained', 'not_retained'), true)
)

-- All columns of the mart, whichever they are: a feature is a column there and nowhere else.
select * from final  -- noqa: AM04
