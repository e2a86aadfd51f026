{# What mart_learner_program_week follows: learners, their courses, and from what the rows of each are made. #}

{# Columns of mart_learner_program that stand in every row of a learner. #}
{% macro followed_attributes() %}
    {% do return([
        "gender", "age_years", "country", "region", "education_level", "employment_status", "is_long_time_learner",
        "terms_since_admitted_count", "season", "is_required_term", "has_open_completion",
        "has_open_paid_not_completed", "has_open_enrolled_not_completed", "has_stackable_enrollment",
        "has_stackable_completion",
    ]) %}
{% endmacro %}


{# The first day of the year after a first term, where it is known. #}
{% macro next_year_starts() %}
    select
        next_year_terms.term_key,
        min(terms.starts_on) as starts_on
    from {{ ref("dim_next_year_term") }} as next_year_terms
    inner join {{ ref("dim_term") }} as terms
        on next_year_terms.later_term_key = terms.term_key
    group by next_year_terms.term_key
{% endmacro %}


{#
    Learners of degrees, with their first and last week; reads next_years, what next_year_starts gives. `where` is a
    further condition on learner_programs.
#}
{% macro followed_learners(where="true") %}
    select
        learner_programs.*,
        terms.starts_on,
        sources.has_interventions,
        enrollments.completed_on,
        enrollments.leave_from_on,
        enrollments.leave_to_on,
        coalesce(next_years.starts_on, {{ add_days("terms.starts_on", 365) }}) as next_year_starts_on,
        cast(
            row_number() over (order by learner_programs.program_enrollment_key) as integer
        ) as enrollment_number,
        greatest(0, coalesce({{ as_of_week("terms.starts_on", "learner_programs.admitted_on") }}, 0)) as first_week,
        cast(
            least(
                floor(({{ days_between("terms.starts_on", "sources.last_data_on") }} + 1) / 7.0),
                coalesce(
                    floor({{ days_between("terms.starts_on", "learner_programs.retention_known_on") }} / 7.0),
                    {{ var("most_followed_weeks") }}
                )
            ) as integer
        ) as last_week
    from {{ ref("mart_learner_program") }} as learner_programs
    inner join {{ ref("fct_program_enrollment") }} as enrollments
        on learner_programs.program_enrollment_key = enrollments.program_enrollment_key
    inner join {{ ref("dim_program") }} as programs
        on learner_programs.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learner_programs.first_term_key = terms.term_key
    inner join {{ ref("dim_source") }} as sources
        on learner_programs.source = sources.source
    left join next_years
        on learner_programs.first_term_key = next_years.term_key
    where
        programs.program_type = 'degree'
        and sources.last_data_on is not null
        and {{ where }}
{% endmacro %}


{# Their courses of the program in any of its terms; reads learners. #}
{% macro followed_courses() %}
    select
        learners.enrollment_number,
        learners.starts_on,
        learners.first_week,
        cast(
            row_number() over (order by enrollments.course_enrollment_key, learners.enrollment_number) as integer
        ) as course_number,
        enrollments.course_enrollment_key,
        enrollments.outcome,
        enrollments.outcome_known_on,
        {{ days_between("enrollments.registered_on", "course_offerings.starts_on") }} as registration_lead_days,
        program_offerings.term_key = learners.first_term_key as is_first_term,
        terms.starts_on > learners.starts_on as is_later_term,
        next_year_terms.later_term_key is not null as is_next_year,
        greatest(learners.first_week, {{ as_of_week("learners.starts_on", "enrollments.registered_on") }})
            as registered_week,
        {{ begun_week("learners.starts_on", "course_offerings.starts_on") }} as begins_week,
        -- The course is not over yet in the week in which it ends.
        coalesce({{ as_of_week("learners.starts_on", "course_offerings.ends_on") }} + 1, {{ no_week() }}) as ended_week,
        {{ begun_week("learners.starts_on", "terms.starts_on") }} as term_begins_week,
        coalesce({{ as_of_week("learners.starts_on", "terms.ends_on") }}, {{ no_week() }}) as term_ended_week
    from learners
    inner join {{ ref("fct_course_enrollment") }} as enrollments
        on learners.learner_key = enrollments.learner_key
    inner join {{ ref("dim_program_offering") }} as program_offerings
        on
            enrollments.course_offering_key = program_offerings.course_offering_key
            and learners.program_key = program_offerings.program_key
    inner join {{ ref("dim_course_offering") }} as course_offerings
        on enrollments.course_offering_key = course_offerings.course_offering_key
    inner join {{ ref("dim_term") }} as terms
        on program_offerings.term_key = terms.term_key
    left join {{ ref("dim_next_year_term") }} as next_year_terms
        on
            learners.first_term_key = next_year_terms.term_key
            and program_offerings.term_key = next_year_terms.later_term_key
    where enrollments.registered_on is not null
{% endmacro %}


{#
    From what the rows of a learner of a program follow. Activity that became known after the last week is in none.
#}
{% macro program_week_inputs() %}
{%- set attributes = [
    "learners.learner_key", "learners.program_key", "learners.first_term_key", "learners.starts_on",
    "learners.has_interventions", "learners.completed_on", "learners.leave_from_on", "learners.leave_to_on",
    "learners.next_year_starts_on", "learners.first_week", "learners.last_week",
    "learners.has_support_ticket is not null", "calendars.terms_hash",
] %}
{%- for column in followed_attributes() %}{% do attributes.append("learners." ~ column) %}{% endfor %}
with next_years as (
    {{ next_year_starts() }}
),

learners as (
    {{ followed_learners() }}
),

program_courses as (
    {{ followed_courses() }}
),

calendars as (
    select
        program_key,
        sum({{ row_hash(["term_key", "starts_on", "ends_on"]) }}) as terms_hash
    from {{ ref("dim_term") }}
    group by program_key
),

facts as (
    select
        enrollment_number,
        {{ row_hash([
            "'course'", "course_enrollment_key", "outcome", "outcome_known_on", "registration_lead_days",
            "is_first_term", "is_later_term", "is_next_year", "registered_week", "begins_week", "ended_week",
            "term_begins_week", "term_ended_week",
        ]) }} as fact_hash
    from program_courses

    union all

    select
        program_courses.enrollment_number,
        {{ row_hash(["'left'", "registrations.course_registration_key", "unregistered_on", "returned_on"]) }}
    from program_courses
    inner join {{ ref("fct_course_registration") }} as registrations
        on program_courses.course_enrollment_key = registrations.course_enrollment_key
    where registrations.unregistered_on is not null or registrations.returned_on is not null

    union all

    select
        learners.enrollment_number,
        {{ row_hash(["'ticket'", "tickets.support_ticket_key", "tickets.opened_on"]) }}
    from learners
    inner join {{ ref("fct_support_ticket") }} as tickets
        on learners.learner_key = tickets.learner_key

    union all

    select
        learners.enrollment_number,
        {{ row_hash([
            "'contact'", "interventions.intervention_key", "interventions.program_key", "interventions.channel",
            "interventions.contacted_at", "interventions.contacted_on", "interventions.known_on",
        ]) }}
    from learners
    inner join {{ ref("fct_intervention") }} as interventions
        on learners.learner_key = interventions.learner_key

    union all

    select
        program_courses.enrollment_number,
        {{ row_hash([
            "days.course_enrollment_key", "days.activity_on", "days.known_on", "days.click_count",
            "days.is_first_known",
        ]) }}
    from {{ ref("fct_daily_activity") }} as days
    inner join program_courses
        on days.course_enrollment_key = program_courses.course_enrollment_key
    inner join learners
        on
            program_courses.enrollment_number = learners.enrollment_number
            and days.known_on < {{ add_days("learners.starts_on", "7 * learners.last_week") }}

    union all

    select
        program_courses.enrollment_number,
        {{ row_hash([
            "course_weeks.course_enrollment_key", "course_weeks.week_number", "course_weeks.as_of_on",
            "course_weeks.due_item_count", "course_weeks.submitted_item_count", "course_weeks.late_item_count",
            "course_weeks.missing_item_count", "course_weeks.scored_item_count", "course_weeks.mean_score_share",
            "course_weeks.last_score_share", "course_weeks.since_last_submission_days",
            "course_weeks.click_rank_share", "course_weeks.active_days_rank_share", "course_weeks.earned_rank_share",
        ]) }}
    from {{ ref("mart_learner_course_week") }} as course_weeks
    inner join program_courses
        on course_weeks.course_enrollment_key = program_courses.course_enrollment_key
),

hashed as (
    select
        enrollment_number,
        sum(fact_hash) as facts_hash
    from facts
    group by enrollment_number
)

select
    learners.program_enrollment_key,
    {{ row_hash(attributes + ["hashed.facts_hash"]) }} as inputs_hash
from learners
left join hashed
    on learners.enrollment_number = hashed.enrollment_number
left join calendars
    on learners.program_key = calendars.program_key
{% endmacro %}
