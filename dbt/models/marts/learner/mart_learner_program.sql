-- Learners in programs: who they are, what they did before, their first term, and whether they came back.
-- Grain: one row per source × learner × program.
with program_enrollments as (
    select * from {{ ref("fct_program_enrollment") }}
),

programs as (
    select * from {{ ref("dim_program") }}
),

offerings as (
    select * from {{ ref("dim_program_offering") }}
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

sources as (
    select * from {{ ref("dim_source") }}
),

-- Which entities a source has at all: without them a feature is null and not "no".
entities as (
    select
        sources.source,
        sources.source in (select stackable.source from {{ ref("dim_stackable_course") }} as stackable)
            as has_stackable_courses,
        sources.source in (
            select dim_course.source from {{ ref("dim_course") }} as dim_course
            where dim_course.course_type = 'open'
        ) as has_open_courses,
        sources.source in (
            select program_enrollments.source from program_enrollments
            where program_enrollments.completed_on is not null
        ) as has_completions,
        sources.source in (
            select program_enrollments.source from program_enrollments
            where program_enrollments.leave_from_on is not null
        ) as has_leaves,
        sources.source in (select tickets.source from {{ ref("fct_support_ticket") }} as tickets)
            as has_support_tickets,
        sources.source in (select profiles.source from {{ ref("dim_profile") }} as profiles) as has_profiles,
        sources.source in (select memberships.source from {{ ref("fct_organization_membership") }} as memberships)
            as has_memberships
    from sources
),

---------- the first term, and those a year later

next_year_terms as (
    select * from {{ ref("dim_next_year_term") }}
),

next_years as (
    select
        term_key,
        max(later_term_key) filter (where is_next_term) as next_term_key,
        max(last_drop_on) filter (where is_next_term) as next_term_last_drop_on,
        max(last_drop_on) as last_drop_on
    from next_year_terms
    group by term_key
),

first_terms as (
    select
        program_enrollments.*,
        first_term.season,
        first_term.starts_on,
        first_term.ends_on,
        first_term.drop_deadline_on,
        first_term.is_required,
        next_years.next_term_key,
        next_years.next_term_last_drop_on,
        next_years.last_drop_on as next_year_last_drop_on,
        -- Where the data end before, nobody can tell yet.
        coalesce(next_years.last_drop_on < sources.last_data_on, false) as is_matured
    from program_enrollments
    inner join terms as first_term
        on program_enrollments.first_term_key = first_term.term_key
    left join next_years
        on first_term.term_key = next_years.term_key
    left join sources
        on program_enrollments.source = sources.source
),

waited as (
    select
        first_terms.program_enrollment_key,
        count(*) as terms_since_admitted_count
    from first_terms
    inner join terms
        on
            first_terms.program_key = terms.program_key
            and first_terms.admitted_on < terms.starts_on
            and first_terms.starts_on > terms.starts_on
    group by first_terms.program_enrollment_key
),

---------- courses of the program

program_courses as (
    select
        first_terms.program_enrollment_key,
        first_terms.starts_on,
        first_terms.drop_deadline_on,
        courses.registered_on,
        courses.unregistered_on,
        courses.last_dropped_on,
        courses.studied_credits,
        courses.click_count,
        courses.is_passed,
        courses.is_withdrawn,
        courses.is_failed_or_withdrawn,
        offerings.term_key = first_terms.first_term_key as is_first_term,
        next_year_terms.later_term_key is not null as is_next_year,
        -- Whoever dropped it in time, came back and dropped it again later has kept it until then.
        next_year_terms.later_term_key is not null
        and (courses.unregistered_on is null or courses.last_dropped_on > next_year_terms.last_drop_on)
            as is_kept_next_year
    from first_terms
    inner join courses
        on first_terms.learner_key = courses.learner_key
    inner join offerings
        on
            courses.course_offering_key = offerings.course_offering_key
            and first_terms.program_key = offerings.program_key
    left join next_year_terms
        on
            first_terms.first_term_key = next_year_terms.term_key
            and offerings.term_key = next_year_terms.later_term_key
),

summarized as (
    select
        program_enrollment_key,
        min(registered_on) filter (where is_first_term) as first_registered_on,
        count(*) as course_count,
        count(*) filter (where is_passed) as passed_course_count,
        count(*) filter (where is_first_term) as courses_enrolled_count,
        -- A change of plans before the term began is no drop of who takes the course after all.
        count(*) filter (
            where is_first_term and (coalesce(is_withdrawn, false) or coalesce(last_dropped_on >= starts_on, false))
        ) as courses_dropped_count,
        bool_or(is_first_term and last_dropped_on > drop_deadline_on) as has_drop_after_deadline,
        max(studied_credits) filter (where is_first_term) as first_term_studied_credits,
        count(*) filter (where is_first_term and is_passed) as first_term_passed_course_count,
        count(*) filter (where is_first_term and is_failed_or_withdrawn and not is_withdrawn)
            as first_term_failed_course_count,
        sum(click_count) filter (where is_first_term) as first_term_click_count,
        bool_or(is_next_year) as is_reregistered_next_year,
        bool_or(is_kept_next_year) as is_kept_next_year
    from program_courses
    group by program_enrollment_key
),

loads as (
    select
        first_terms.program_key,
        {{ quantile("summarized.courses_enrolled_count", 0.25) }} as program_load_q25,
        {{ quantile("summarized.courses_enrolled_count", 0.5) }} as program_load_median,
        {{ quantile("summarized.courses_enrolled_count", 0.75) }} as program_load_q75
    from summarized
    inner join first_terms
        on summarized.program_enrollment_key = first_terms.program_enrollment_key
    group by first_terms.program_key
),

---------- open content before the first day of the first term

open_courses as (
    select
        first_terms.program_enrollment_key,
        bool_or(stackable.course_registration_key is not null) as is_stackable,
        bool_or(coalesce(registrations.is_paid, false)) as is_paid,
        bool_or(coalesce(registrations.completed_on < first_terms.starts_on, false)) as is_completed
    from first_terms
    inner join {{ ref("fct_course_registration") }} as registrations
        on
            first_terms.learner_key = registrations.learner_key
            and first_terms.starts_on > registrations.registered_on
    inner join {{ ref("dim_course") }} as dim_course
        on registrations.course_key = dim_course.course_key
    left join {{ ref("fct_stackable_registration") }} as stackable
        on
            registrations.course_registration_key = stackable.course_registration_key
            and first_terms.program_key = stackable.program_key
    where dim_course.course_type = 'open'
    group by
        first_terms.program_enrollment_key,
        registrations.course_key
),

open_content as (
    select
        program_enrollment_key,
        bool_or(is_paid) as has_any_paid,
        bool_or(is_completed) as has_any_completion,
        bool_or(is_stackable) as has_stackable_enrollment,
        bool_or(is_stackable and is_completed) as has_stackable_completion,
        bool_or(not is_stackable) as has_enrollment,
        bool_or(not is_stackable and is_completed) as has_completion,
        bool_or(not is_stackable and is_paid) as has_paid
    from open_courses
    group by program_enrollment_key
),

---------- beside the courses

tickets as (
    select
        first_terms.program_enrollment_key,
        bool_or(tickets.ticket_type = 'payment') as has_payment_ticket,
        bool_or(tickets.ticket_type = 'technical') as has_technical_ticket,
        bool_or(tickets.ticket_type = 'academic') as has_academic_ticket,
        bool_or(tickets.ticket_type = 'enrollment') as has_enrollment_ticket
    from first_terms
    inner join {{ ref("fct_support_ticket") }} as tickets
        on
            first_terms.learner_key = tickets.learner_key
            and first_terms.starts_on <= tickets.opened_on
            and first_terms.ends_on >= tickets.opened_on
    group by first_terms.program_enrollment_key
),

sponsored as (
    select distinct first_terms.program_enrollment_key
    from first_terms
    inner join {{ ref("fct_organization_membership") }} as memberships
        on
            first_terms.learner_key = memberships.learner_key
            and first_terms.starts_on >= memberships.from_on
            and first_terms.starts_on <= coalesce(memberships.to_on, first_terms.starts_on)
),

profiles as (
    select * from {{ ref("dim_profile") }}
),

---------- a year later

next_year_states as (
    select
        first_terms.program_enrollment_key,
        case
            when programs.program_type <> 'degree' or not first_terms.is_matured then null
            when first_terms.completed_on <= first_terms.next_year_last_drop_on then 'graduated'
            when summarized.is_kept_next_year then 'retained'
            when
                first_terms.leave_from_on <= first_terms.next_term_last_drop_on
                and coalesce(first_terms.leave_to_on >= first_terms.next_term_last_drop_on, true)
                then 'on_leave'
            else 'not_retained'
        end as next_year_state
    from first_terms
    inner join programs
        on first_terms.program_key = programs.program_key
    left join summarized
        on first_terms.program_enrollment_key = summarized.program_enrollment_key
)

select
    first_terms.source,
    first_terms.program_enrollment_key,
    first_terms.learner_key,
    first_terms.program_key,
    first_terms.first_term_key,
    programs.program_id,

    ---------- the learner
    learners.gender,
    learners.age_band,
    learners.birth_year,
    cast(year(first_terms.starts_on) as integer) - learners.birth_year as age_years,
    learners.country,
    learners.region,
    learners.education_level,
    learners.employment_status,
    learners.deprivation_band,
    learners.has_disability,
    {{ days_between("cast(learners.registered_at as date)", "first_terms.starts_on") }} > 365 as is_long_time_learner,
    case when entities.has_profiles then profiles.target_role is not null end as has_target_role,
    case when entities.has_memberships then sponsored.program_enrollment_key is not null end as is_sponsored,

    ---------- the program
    programs.terms_per_year,
    programs.terms_may_be_missed,
    loads.program_load_q25,
    loads.program_load_median,
    loads.program_load_q75,
    loads.program_load_q75 - loads.program_load_q25 as program_load_iqr,

    ---------- admission and open content before the start
    first_terms.admitted_on,
    case
        when first_terms.admitted_on is not null then cast(coalesce(waited.terms_since_admitted_count, 0) as integer)
    end as terms_since_admitted_count,
    first_terms.season,
    first_terms.is_required as is_required_term,
    case when entities.has_stackable_courses then coalesce(open_content.has_completion, false) end
        as has_open_completion,
    case
        when entities.has_stackable_courses
            then coalesce(open_content.has_paid and not open_content.has_completion, false)
    end as has_open_paid_not_completed,
    case
        when entities.has_stackable_courses
            then coalesce(
                open_content.has_enrollment and not open_content.has_paid and not open_content.has_completion, false
            )
    end as has_open_enrolled_not_completed,
    case when entities.has_stackable_courses then coalesce(open_content.has_stackable_enrollment, false) end
        as has_stackable_enrollment,
    case when entities.has_stackable_courses then coalesce(open_content.has_stackable_completion, false) end
        as has_stackable_completion,
    case when entities.has_open_courses then open_content.program_enrollment_key is not null end
        as has_open_enrollment_any,
    case when entities.has_open_courses then coalesce(open_content.has_any_paid, false) end
        as has_open_paid_enrollment_any,
    case when entities.has_open_courses then coalesce(open_content.has_any_completion, false) end
        as has_open_completion_any,

    ---------- first term
    summarized.first_registered_on,
    {{ days_between("summarized.first_registered_on", "first_terms.starts_on") }} as registration_lead_days,
    cast(coalesce(summarized.courses_enrolled_count, 0) as integer) as courses_enrolled_count,
    cast(coalesce(summarized.courses_dropped_count, 0) as integer) as courses_dropped_count,
    case when first_terms.drop_deadline_on is not null then coalesce(summarized.has_drop_after_deadline, false) end
        as has_drop_after_deadline,
    summarized.first_term_studied_credits,
    cast(coalesce(summarized.first_term_passed_course_count, 0) as integer) as first_term_passed_course_count,
    cast(coalesce(summarized.first_term_failed_course_count, 0) as integer) as first_term_failed_course_count,
    cast(coalesce(summarized.first_term_click_count, 0) as integer) as first_term_click_count,
    case when entities.has_support_tickets then tickets.program_enrollment_key is not null end as has_support_ticket,
    case when entities.has_support_tickets then coalesce(tickets.has_payment_ticket, false) end as has_payment_ticket,
    case when entities.has_support_tickets then coalesce(tickets.has_technical_ticket, false) end
        as has_technical_ticket,
    case when entities.has_support_tickets then coalesce(tickets.has_academic_ticket, false) end as has_academic_ticket,
    case when entities.has_support_tickets then coalesce(tickets.has_enrollment_ticket, false) end
        as has_enrollment_ticket,

    ---------- all terms in the data
    cast(coalesce(summarized.course_count, 0) as integer) as course_count,
    cast(coalesce(summarized.passed_course_count, 0) as integer) as passed_course_count,

    ---------- a year later
    first_terms.next_term_key,
    {{ add_days("first_terms.next_year_last_drop_on", 1) }} as retention_known_on,
    case when first_terms.is_matured then coalesce(summarized.is_reregistered_next_year, false) end
        as is_reregistered_next_year,
    next_year_states.next_year_state,
    case
        when next_year_states.next_year_state <> 'on_leave'
            then next_year_states.next_year_state in ('retained', 'graduated')
    end as is_retained,
    case
        when next_year_states.next_year_state in ('retained', 'not_retained')
            then next_year_states.next_year_state = 'retained'
    end as is_retained_without_graduates,
    case when entities.has_completions then next_year_states.next_year_state = 'graduated' end as is_graduated,
    case when entities.has_leaves then next_year_states.next_year_state = 'on_leave' end as is_on_leave
from first_terms
inner join next_year_states
    on first_terms.program_enrollment_key = next_year_states.program_enrollment_key
inner join learners
    on first_terms.learner_key = learners.learner_key
inner join programs
    on first_terms.program_key = programs.program_key
left join entities
    on first_terms.source = entities.source
left join loads
    on first_terms.program_key = loads.program_key
left join waited
    on first_terms.program_enrollment_key = waited.program_enrollment_key
left join summarized
    on first_terms.program_enrollment_key = summarized.program_enrollment_key
left join open_content
    on first_terms.program_enrollment_key = open_content.program_enrollment_key
left join tickets
    on first_terms.program_enrollment_key = tickets.program_enrollment_key
left join sponsored
    on first_terms.program_enrollment_key = sponsored.program_enrollment_key
left join profiles
    on first_terms.learner_key = profiles.learner_key
