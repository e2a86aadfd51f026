-- Learners in programs, their first term, and whether they came back. Grain: one row per source × learner × program.
with program_enrollments as (
    select * from {{ ref("fct_program_enrollment") }}
),

terms as (
    select * from {{ ref("dim_term") }}
),

courses as (
    select * from {{ ref("mart_learner_course") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

-- Null where the data end before the term a year later: nobody can tell yet.
first_terms as (
    select
        first_term.term_key,
        first_term.starts_on,
        next_year.term_key as next_year_term_key
    from terms as first_term
    left join terms as next_year
        on
            first_term.program_key = next_year.program_key
            and next_year.starts_on = {{ add_year("first_term.starts_on") }}
),

joined as (
    select
        program_enrollments.*,
        first_terms.starts_on as first_term_starts_on,
        first_terms.next_year_term_key,
        courses.registered_on,
        courses.studied_credits,
        courses.click_count,
        courses.is_passed,
        courses.is_withdrawn,
        courses.is_failed_or_withdrawn,
        courses.term_key = program_enrollments.first_term_key as is_first_term,
        courses.term_key = first_terms.next_year_term_key as is_next_year
    from program_enrollments
    inner join first_terms
        on program_enrollments.first_term_key = first_terms.term_key
    inner join courses
        on
            program_enrollments.learner_key = courses.learner_key
            and program_enrollments.program_key = courses.program_key
),

summarized as (
    select
        source,
        program_enrollment_key,
        learner_key,
        program_key,
        first_term_key,
        admitted_on,
        first_term_starts_on,
        min(registered_on) filter (where is_first_term) as first_registered_on,
        count(*) as course_count,
        count(*) filter (where is_passed) as passed_course_count,
        count(*) filter (where is_first_term) as first_term_course_count,
        max(studied_credits) filter (where is_first_term) as first_term_studied_credits,
        count(*) filter (where is_first_term and is_passed) as first_term_passed_course_count,
        count(*) filter (where is_first_term and is_withdrawn) as first_term_withdrawn_course_count,
        count(*) filter (where is_first_term and is_failed_or_withdrawn and not is_withdrawn)
            as first_term_failed_course_count,
        sum(click_count) filter (where is_first_term) as first_term_click_count,
        case when next_year_term_key is not null then coalesce(bool_or(is_next_year), false) end
            as is_reregistered_next_year
    from joined
    group by
        source,
        program_enrollment_key,
        learner_key,
        program_key,
        first_term_key,
        admitted_on,
        first_term_starts_on,
        next_year_term_key
)

select
    summarized.source,
    summarized.program_enrollment_key,
    summarized.learner_key,
    summarized.program_key,
    summarized.first_term_key,

    ---------- the learner
    learners.gender,
    learners.age_band,
    learners.birth_year,
    learners.country,
    learners.region,
    learners.education_level,
    learners.employment_status,
    learners.deprivation_band,
    learners.has_disability,
    summarized.admitted_on,
    summarized.first_registered_on,
    {{ days_between("summarized.first_registered_on", "summarized.first_term_starts_on") }} as registration_lead_days,

    ---------- first term
    cast(summarized.first_term_course_count as integer) as first_term_course_count,
    summarized.first_term_studied_credits,
    cast(summarized.first_term_passed_course_count as integer) as first_term_passed_course_count,
    cast(summarized.first_term_failed_course_count as integer) as first_term_failed_course_count,
    cast(summarized.first_term_withdrawn_course_count as integer) as first_term_withdrawn_course_count,
    cast(summarized.first_term_click_count as integer) as first_term_click_count,

    ---------- all terms in the data
    cast(summarized.course_count as integer) as course_count,
    cast(summarized.passed_course_count as integer) as passed_course_count,
    summarized.is_reregistered_next_year
from summarized
inner join learners
    on summarized.learner_key = learners.learner_key
