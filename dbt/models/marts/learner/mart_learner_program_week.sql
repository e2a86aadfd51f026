-- What was known of a learner of a degree program at the end of each week of the first term.
-- Grain: one row per learner × program × week, for learners registered by then and weeks that have ended in the data.
{%- set sums = [
    "click_count", "last_week_click_count", "last_four_weeks_click_count", "active_days", "last_week_active_days",
    "last_four_weeks_active_days", "due_item_count", "submitted_item_count", "late_item_count", "missing_item_count",
    "scored_item_count",
] %}
{%- set means = ["click_rank_share", "active_days_rank_share", "earned_rank_share"] %}

with first_terms as (
    select
        learner_programs.*,
        terms.starts_on,
        terms.ends_on,
        sources.last_data_on,
        sources.has_interventions
    from {{ ref("mart_learner_program") }} as learner_programs
    inner join {{ ref("dim_program") }} as programs
        on learner_programs.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learner_programs.first_term_key = terms.term_key
    inner join {{ ref("dim_source") }} as sources
        on learner_programs.source = sources.source
    where programs.program_type = 'degree'
),

weeks as (
    select
        first_terms.program_enrollment_key,
        first_terms.starts_on,
        cast(steps.week_number as integer) as week_number,
        {{ add_days("first_terms.starts_on", "7 * steps.week_number") }} as as_of_on
    from first_terms
    cross join {{ integers_between(
        0, "cast(floor((" ~ days_between("first_terms.starts_on", "first_terms.ends_on") ~ " + 1) / 7.0) as integer)",
        "steps", "week_number"
    ) }}
    where {{ add_days("first_terms.starts_on", "7 * steps.week_number - 1") }} <= first_terms.last_data_on
),

---------- the courses of the first term: each of their weeks counts until the next one ends

course_weeks as (
    select
        course_weeks.*,
        first_terms.program_enrollment_key,
        greatest(
            0, cast(ceil({{ days_between("first_terms.starts_on", "course_weeks.as_of_on") }} / 7.0) as integer)
        ) as term_week
    from {{ ref("mart_learner_course_week") }} as course_weeks
    inner join first_terms
        on
            course_weeks.learner_key = first_terms.learner_key
            and course_weeks.term_key = first_terms.first_term_key
),

latest as (
    select * from course_weeks
    qualify row_number() over (partition by course_enrollment_key, term_week order by as_of_on desc) = 1
),

states as (
    select
        *,
        lead(term_week) over (partition by course_enrollment_key order by term_week) as next_term_week
    from latest
),

courses as (
    select
        weeks.program_enrollment_key,
        weeks.week_number,
        weeks.as_of_on,
        count(*) as course_count,
        count(*) filter (where not states.is_enrolled) as left_course_count,
        {%- for column in sums %}
        sum(states.{{ column }}) as {{ column }},
        {%- endfor %}
        {%- for column in means %}
        cast(avg({{ exact("states." ~ column) }}) as double) as {{ column }},
        {%- endfor %}
        -- Days since the course's own last day that the state knows, brought up to this week's.
        min(states.since_last_activity_days + {{ days_between("states.as_of_on", "weeks.as_of_on") }})
            as since_last_activity_days,
        min(states.since_last_submission_days + {{ days_between("states.as_of_on", "weeks.as_of_on") }})
            as since_last_submission_days,
        sum({{ exact("states.mean_score_share * states.scored_item_count") }}) as score_share,
        min(states.last_score_share) as lowest_last_score_share,
        max(states.registration_lead_days) as registration_lead_days
    from weeks
    inner join states
        on
            weeks.program_enrollment_key = states.program_enrollment_key
            and weeks.week_number >= states.term_week
            and weeks.week_number < coalesce(states.next_term_week, weeks.week_number + 1)
    group by weeks.program_enrollment_key, weeks.week_number, weeks.as_of_on
),

tickets as (
    select
        courses.program_enrollment_key,
        courses.week_number,
        count(*) as support_ticket_count
    from courses
    inner join first_terms
        on courses.program_enrollment_key = first_terms.program_enrollment_key
    inner join {{ ref("fct_support_ticket") }} as tickets
        on
            first_terms.learner_key = tickets.learner_key
            and first_terms.starts_on <= tickets.opened_on
            and courses.as_of_on > tickets.opened_on
    group by courses.program_enrollment_key, courses.week_number
),

-- The newest recent one of those in the log by then, about this program or about none in particular.
contacted as (
    select
        courses.program_enrollment_key,
        courses.week_number,
        max_by(interventions.channel, (interventions.contacted_at, interventions.intervention_key)) as contact_channel
    from courses
    inner join first_terms
        on courses.program_enrollment_key = first_terms.program_enrollment_key
    inner join {{ ref("fct_intervention") }} as interventions
        on
            first_terms.learner_key = interventions.learner_key
            and courses.as_of_on > interventions.known_on
    where
        coalesce(interventions.program_key = first_terms.program_key, true)
        and {{ days_between("interventions.contacted_on", "courses.as_of_on") }} <= {{ var("recent_contact_days") }}
    group by courses.program_enrollment_key, courses.week_number
)

select
    first_terms.source,
    first_terms.program_enrollment_key,
    first_terms.learner_key,
    first_terms.program_key,
    first_terms.first_term_key,

    courses.week_number,
    courses.as_of_on,
    courses.left_course_count < courses.course_count as is_enrolled,

    ---------- the learner
    first_terms.gender,
    first_terms.age_years,
    first_terms.country,
    first_terms.region,
    first_terms.education_level,
    first_terms.employment_status,
    first_terms.is_long_time_learner,
    first_terms.terms_since_admitted_count,
    first_terms.season,
    first_terms.is_required_term,
    first_terms.has_open_completion,
    first_terms.has_open_paid_not_completed,
    first_terms.has_open_enrolled_not_completed,
    first_terms.has_stackable_enrollment,
    first_terms.has_stackable_completion,
    courses.registration_lead_days,

    ---------- courses
    cast(courses.course_count as integer) as course_count,
    cast(courses.left_course_count as integer) as left_course_count,
    case
        when first_terms.has_support_ticket is not null then cast(coalesce(tickets.support_ticket_count, 0) as integer)
    end as support_ticket_count,

    ---------- activity and assessments, summed over the courses
    {%- for column in sums %}
    cast(courses.{{ column }} as integer) as {{ column }},
    {%- endfor %}
    cast(courses.since_last_activity_days as integer) as since_last_activity_days,
    cast(courses.since_last_submission_days as integer) as since_last_submission_days,
    courses.score_share / nullif(cast(courses.scored_item_count as double), 0) as mean_score_share,
    courses.lowest_last_score_share,
    courses.submitted_item_count / nullif(cast(courses.due_item_count as double), 0) as submitted_per_due_ratio,

    ---------- contacts
    case when first_terms.has_interventions then coalesce(contacted.contact_channel, 'none') end as contact_channel,

    ---------- among the peers of each course
    {{ means | join(",\n    ") }}
from courses
inner join first_terms
    on courses.program_enrollment_key = first_terms.program_enrollment_key
left join contacted
    on
        courses.program_enrollment_key = contacted.program_enrollment_key
        and courses.week_number = contacted.week_number
left join tickets
    on
        courses.program_enrollment_key = tickets.program_enrollment_key
        and courses.week_number = tickets.week_number
