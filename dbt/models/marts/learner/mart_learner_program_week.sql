-- What was known of a learner of a degree program at the end of each week, from the first day of the first term until
-- it is known whether they stayed.
-- Grain: one row per learner × program × week, for learners admitted by then and weeks that have ended in the data.

{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['program_enrollment_key'], program_week_inputs()) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

-- Nothing dated on or after `as_of_on` may enter a row. Each fact therefore enters in the first week that knows it and
-- is carried on by running sums; what ends takes out again what it brought in.
{%- set never = no_week() %}
{#- Of changes of courses: what counts, and from which week until which. #}
{%- set counts = [
    {"name": "course_count", "amount": "taken", "from": "greatest(week_number, begins_week)"},
    {"name": "left_course_count", "amount": "left_then", "from": "greatest(week_number, begins_week)"},
    {"name": "registered_ahead_course_count", "amount": "kept", "from": "week_number", "until": "begins_week"},
    {
        "name": "term_course_count", "amount": "kept", "from": "greatest(week_number, term_begins_week)",
        "until": "term_ended_week",
    },
    {
        "name": "running_course_count", "amount": "kept", "from": "greatest(week_number, begins_week)",
        "until": "ended_week",
    },
    {"name": "later_term_course_count", "amount": "kept", "from": "week_number", "where": "is_later_term"},
    {"name": "next_year_course_count", "amount": "kept", "from": "week_number", "where": "is_next_year"},
    {"name": "passed_course_count", "amount": "passed", "from": "week_number"},
    {"name": "failed_course_count", "amount": "failed", "from": "week_number"},
] %}
{%- set count_sums = (counts | map(attribute="name") | list) + ["support_ticket_count"] %}
{%- set activity_sums = [
    "click_count", "last_week_click_count", "last_four_weeks_click_count", "active_days", "last_week_active_days",
    "last_four_weeks_active_days",
] %}
{%- set item_sums = [
    "due_item_count", "submitted_item_count", "late_item_count", "missing_item_count", "scored_item_count",
] %}
{%- set scored = exact("course_weeks.mean_score_share * course_weeks.scored_item_count") %}
{%- set means = ["click_rank_share", "active_days_rank_share", "earned_rank_share"] %}

{{ in_slices(25000, ref("fct_program_enrollment")) }}

with next_years as (
    {{ next_year_starts() }}
),

-- Numbers stand in for keys on the way: with the keys' text, joins and windows take several times as long.
learners as (
    {{ followed_learners(
        in_slice("learner_programs.learner_key")
        ~ " and " ~ is_touched(["program_enrollment_key"], alias="learner_programs")
    ) }}
),

program_courses as (
    {{ followed_courses() }}
),

---------- which of them were taken, kept, left, passed or failed by then

changes as (
    select
        program_courses.*,
        program_courses.registered_week as week_number,
        1 as taken,
        1 as kept,
        0 as left_then,
        0 as passed,
        0 as failed
    from program_courses

    union all

    select
        program_courses.*,
        greatest(
            program_courses.registered_week,
            {{ as_of_week("program_courses.starts_on", "registrations.unregistered_on") }}
        ) as week_number,
        0 as taken,
        -1 as kept,
        1 as left_then,
        0 as passed,
        0 as failed
    from program_courses
    inner join {{ ref("fct_course_registration") }} as registrations
        on program_courses.course_enrollment_key = registrations.course_enrollment_key
    where registrations.unregistered_on is not null

    union all

    select
        program_courses.*,
        greatest(
            program_courses.registered_week, {{ as_of_week("program_courses.starts_on", "registrations.returned_on") }}
        ) as week_number,
        0 as taken,
        1 as kept,
        -1 as left_then,
        0 as passed,
        0 as failed
    from program_courses
    inner join {{ ref("fct_course_registration") }} as registrations
        on program_courses.course_enrollment_key = registrations.course_enrollment_key
    where registrations.returned_on is not null

    union all

    select
        program_courses.*,
        greatest(registered_week, {{ as_of_week("starts_on", "outcome_known_on") }}) as week_number,
        0 as taken,
        0 as kept,
        0 as left_then,
        case when outcome in ('pass', 'distinction') then 1 else 0 end as passed,
        case when outcome = 'fail' then 1 else 0 end as failed
    from program_courses
    where outcome in ('pass', 'distinction', 'fail') and outcome_known_on is not null
),

counted as (
    {%- for count in counts %}
    {%- set until = count.get("until", never) %}
    {%- set condition = count["amount"] ~ " <> 0" ~ (" and " ~ count["where"] if "where" in count else "") %}
    select
        enrollment_number,
        {{ count["from"] }} as week_number,
        '{{ count["name"] }}' as measure,
        {{ count["amount"] }} as amount
    from changes
    where {{ condition }} and {{ count["from"] }} < {{ until }}

    union all
    {% if "until" in count %}
    select
        enrollment_number,
        {{ until }} as week_number,
        '{{ count["name"] }}' as measure,
        -{{ count["amount"] }} as amount
    from changes
    where {{ condition }} and {{ count["from"] }} < {{ until }}

    union all
    {% endif %}
    {%- endfor %}
    -- Of everybody, so that there is a state from the first week on.
    select
        enrollment_number,
        first_week as week_number,
        'course_count' as measure,
        0 as amount
    from learners

    union all

    select
        enrollment_number,
        greatest(registered_week, begins_week) as week_number,
        'registration_lead_days' as measure,
        registration_lead_days as amount
    from program_courses
    where is_first_term

    union all

    select
        learners.enrollment_number,
        greatest(learners.first_week, {{ as_of_week("learners.starts_on", "tickets.opened_on") }}) as week_number,
        'support_ticket_count' as measure,
        1 as amount
    from learners
    inner join {{ ref("fct_support_ticket") }} as tickets
        on
            learners.learner_key = tickets.learner_key
            and learners.starts_on <= tickets.opened_on
),

counted_entering as (
    select
        enrollment_number,
        week_number,
        {%- for column in count_sums %}
        cast(coalesce(sum(amount) filter (where measure = '{{ column }}'), 0) as integer) as {{ column }},
        {%- endfor %}
        max(amount) filter (where measure = 'registration_lead_days') as registration_lead_days
    from counted
    group by enrollment_number, week_number
),

counted_so_far as (
    {{ states(
        "counted_entering", count_sums, "max(registration_lead_days) over so_far as registration_lead_days"
    ) }}
),

course_states as (
    select
        *,
        max(case when running_course_count > 0 then next_week_number - 1 end) over (
            partition by enrollment_number
            order by week_number
            rows between unbounded preceding and current row
        ) as last_course_week
    from counted_so_far
),

weeks as (
    select
        course_states.enrollment_number,
        cast(steps.week_number as integer) as week_number,
        {{ add_days("learners.starts_on", "7 * steps.week_number") }} as as_of_on,
        {%- for column in count_sums %}
        course_states.{{ column }},
        {%- endfor %}
        course_states.registration_lead_days,
        greatest(0, cast(steps.week_number as integer) - coalesce(course_states.last_course_week, 0))
            as without_course_weeks
    from course_states
    inner join learners
        on course_states.enrollment_number = learners.enrollment_number
    cross join {{ integers_between(
        "course_states.week_number", "least(course_states.next_week_number - 1, learners.last_week)",
        "steps", "week_number"
    ) }}
    where
        steps.week_number >= course_states.week_number
        and steps.week_number <= learners.last_week
),

---------- activity in them, also after their last week

activity as (
    select
        program_courses.enrollment_number,
        {{ as_of_week("program_courses.starts_on", "days.activity_on") }} as activity_week,
        greatest(
            program_courses.registered_week, {{ as_of_week("program_courses.starts_on", "days.known_on") }}
        ) as known_week,
        days.activity_on,
        days.click_count,
        days.is_first_known
    from {{ ref("fct_daily_activity") }} as days
    inner join program_courses
        on days.course_enrollment_key = program_courses.course_enrollment_key
    where {{ in_slice("days.learner_key") }}
),

activity_entering as (
    select
        enrollment_number,
        known_week as week_number,
        cast(sum(click_count) as integer) as click_count,
        cast(count(*) filter (where is_first_known) as integer) as active_days,
        cast(sum(click_count) filter (where activity_week = known_week) as integer) as last_week_click_count,
        cast(count(*) filter (where is_first_known and activity_week = known_week) as integer) as last_week_active_days,
        cast(sum(click_count) filter (where activity_week + 4 > known_week) as integer) as last_four_weeks_click_count,
        cast(count(*) filter (where is_first_known and activity_week + 4 > known_week) as integer)
            as last_four_weeks_active_days,
        max(activity_on) filter (where is_first_known) as last_activity_on
    from activity
    group by enrollment_number, known_week
),

-- What is four weeks old leaves the sums of the last four weeks.
activity_leaving as (
    select
        enrollment_number,
        activity_week + 4 as week_number,
        cast(sum(click_count) as integer) as last_four_weeks_click_count,
        cast(count(*) filter (where is_first_known) as integer) as last_four_weeks_active_days
    from activity
    where activity_week + 4 > known_week
    group by enrollment_number, activity_week + 4
),

---------- assessments and ranks: each week of a course counts from the week in which it has ended

course_weeks as (
    select
        program_courses.enrollment_number,
        program_courses.course_number,
        program_courses.first_week,
        course_weeks.week_number as course_week,
        {{ begun_week("program_courses.starts_on", "course_weeks.as_of_on") }} as week_number,
        {%- for column in item_sums %}
        course_weeks.{{ column }} - coalesce(lag(course_weeks.{{ column }}) over by_course, 0) as {{ column }},
        {%- endfor %}
        coalesce({{ scored }}, 0) - coalesce(lag({{ scored }}) over by_course, 0) as score_share,
        course_weeks.last_score_share,
        lag(course_weeks.last_score_share) over by_course as former_score_share,
        {{ add_days("course_weeks.as_of_on", "-course_weeks.since_last_submission_days") }} as last_submitted_on,
        {{ means | join(",\n        ") }}
    from {{ ref("mart_learner_course_week") }} as course_weeks
    inner join program_courses
        on course_weeks.course_enrollment_key = program_courses.course_enrollment_key
    where {{ in_slice("course_weeks.learner_key") }}
    window by_course as (partition by program_courses.course_number order by course_weeks.week_number)
),

course_weeks_entering as (
    select
        enrollment_number,
        greatest(first_week, week_number) as week_number,
        {%- for column in item_sums %}
        cast(sum({{ column }}) as integer) as {{ column }},
        {%- endfor %}
        -- Only those of a course that ran in the week; none before the learner's first week.
        {%- for column in means %}
        cast(avg(case when week_number >= first_week then {{ exact(column) }} end) as double) as {{ column }},
        {%- endfor %}
        {{ exact("sum(score_share)") }} as score_share,
        max(last_submitted_on) as last_submitted_on
    from course_weeks
    group by enrollment_number, greatest(first_week, week_number)
),

-- Each course's last score holds until its next one.
last_scores as (
    select
        enrollment_number,
        greatest(first_week, week_number) as week_number,
        last_score_share,
        coalesce(
            lead(greatest(first_week, week_number)) over (partition by course_number order by course_week), {{ never }}
        ) as next_week_number
    from course_weeks
    where last_score_share is distinct from former_score_share
),

score_weeks as (
    select distinct
        enrollment_number,
        week_number
    from last_scores
),

lowest_entering as (
    select
        score_weeks.enrollment_number,
        score_weeks.week_number,
        min(last_scores.last_score_share) as lowest_last_score_share
    from score_weeks
    inner join last_scores
        on
            score_weeks.enrollment_number = last_scores.enrollment_number
            and score_weeks.week_number >= last_scores.week_number
            and score_weeks.week_number < last_scores.next_week_number
    group by score_weeks.enrollment_number, score_weeks.week_number
),

lowest_so_far as (
    {{ states("lowest_entering", [], "lowest_last_score_share") }}
),

---------- contacts

-- About this program or about none in particular, by the weeks in which they are known and recent.
contacts as (
    select
        learners.enrollment_number,
        cast(steps.week_number as integer) as week_number,
        max_by(interventions.channel, (interventions.contacted_at, interventions.intervention_key)) as contact_channel
    from learners
    inner join {{ ref("fct_intervention") }} as interventions
        on
            learners.learner_key = interventions.learner_key
            and coalesce(learners.program_key = interventions.program_key, true)
    cross join {{ integers_between(
        "greatest(learners.first_week, " ~ as_of_week("learners.starts_on", "interventions.known_on") ~ ")",
        "cast(floor((" ~ days_between("learners.starts_on", "interventions.contacted_on") ~ " + "
        ~ var("recent_contact_days") ~ ") / 7.0) as integer)",
        "steps", "week_number"
    ) }}
    where {{ days_between("interventions.known_on", add_days("learners.starts_on", "7 * steps.week_number")) }} > 0
    group by learners.enrollment_number, cast(steps.week_number as integer)
),

---------- the program's calendar

calendar as (
    select
        learners.program_key,
        learners.first_term_key,
        steps.week_number,
        count(terms.term_key) = 0 as is_between_terms
    from (
        select
            program_key,
            first_term_key,
            starts_on,
            max(last_week) as last_week
        from learners
        group by program_key, first_term_key, starts_on
    ) as learners
    cross join {{ integers_between("0", "learners.last_week", "steps", "week_number") }}
    left join {{ ref("dim_term") }} as terms
        on
            learners.program_key = terms.program_key
            and {{ add_days("learners.starts_on", "7 * steps.week_number") }} >= terms.starts_on
            and {{ add_days("learners.starts_on", "7 * steps.week_number") }} <= terms.ends_on
    group by learners.program_key, learners.first_term_key, steps.week_number
),

---------- all of it, week by week

so_far as (
    select
        weeks.*,
        coalesce(activity_entering.last_week_click_count, 0) as last_week_click_count,
        coalesce(activity_entering.last_week_active_days, 0) as last_week_active_days,
        {%- for column in ["click_count", "active_days"] %}
        coalesce(sum(activity_entering.{{ column }}) over so_far, 0) as {{ column }},
        sum(
            coalesce(activity_entering.last_four_weeks_{{ column }}, 0)
            - coalesce(activity_leaving.last_four_weeks_{{ column }}, 0)
        ) over so_far as last_four_weeks_{{ column }},
        {%- endfor %}
        max(activity_entering.last_activity_on) over so_far as last_activity_on,
        {%- for column in item_sums %}
        sum(course_weeks_entering.{{ column }}) over so_far as {{ column }},
        {%- endfor %}
        {%- for column in means %}
        course_weeks_entering.{{ column }},
        {%- endfor %}
        sum(course_weeks_entering.score_share) over so_far as score_share,
        max(course_weeks_entering.last_submitted_on) over so_far as last_submitted_on
    from weeks
    left join activity_entering
        on
            weeks.enrollment_number = activity_entering.enrollment_number
            and weeks.week_number = activity_entering.week_number
    left join activity_leaving
        on
            weeks.enrollment_number = activity_leaving.enrollment_number
            and weeks.week_number = activity_leaving.week_number
    left join course_weeks_entering
        on
            weeks.enrollment_number = course_weeks_entering.enrollment_number
            and weeks.week_number = course_weeks_entering.week_number
    window so_far as (
        partition by weeks.enrollment_number
        order by weeks.week_number
        rows between unbounded preceding and current row
    )
)

select
    learners.source,
    learners.program_enrollment_key,
    learners.learner_key,
    learners.program_key,
    learners.first_term_key,

    so_far.week_number,
    so_far.as_of_on,
    coalesce(learners.completed_on >= so_far.as_of_on, true) as is_enrolled,

    ---------- the learner
    {%- for column in followed_attributes() %}
    learners.{{ column }},
    {%- endfor %}
    so_far.registration_lead_days,

    ---------- the program
    coalesce(
        learners.leave_from_on < so_far.as_of_on and coalesce(learners.leave_to_on >= so_far.as_of_on, true), false
    ) as is_on_leave,
    calendar.is_between_terms,
    cast(floor({{ days_between("so_far.as_of_on", "learners.next_year_starts_on") }} / 7.0) as integer)
        as until_next_year_weeks,

    ---------- courses
    {%- for column in counts | map(attribute="name") if column != "running_course_count" %}
    cast(so_far.{{ column }} as integer) as {{ column }},
    {%- endfor %}
    so_far.without_course_weeks,
    case when learners.has_support_ticket is not null then cast(so_far.support_ticket_count as integer) end
        as support_ticket_count,

    ---------- activity and assessments, summed over the courses
    {%- for column in activity_sums %}
    cast(so_far.{{ column }} as integer) as {{ column }},
    {%- endfor %}
    {{ days_between("so_far.last_activity_on", "so_far.as_of_on") }} as since_last_activity_days,
    {%- for column in item_sums %}
    cast({{ "so_far." ~ column if column == "late_item_count" else "coalesce(so_far." ~ column ~ ", 0)" }} as integer)
        as {{ column }},
    {%- endfor %}
    {{ days_between("so_far.last_submitted_on", "so_far.as_of_on") }} as since_last_submission_days,
    cast(so_far.score_share as double) / nullif(cast(so_far.scored_item_count as double), 0) as mean_score_share,
    lowest.lowest_last_score_share,
    so_far.submitted_item_count / nullif(cast(so_far.due_item_count as double), 0) as submitted_per_due_ratio,

    ---------- contacts
    case when learners.has_interventions then coalesce(contacts.contact_channel, 'none') end as contact_channel,

    ---------- among the peers of each running course
    so_far.{{ means | join(",\n    so_far.") }}
from so_far
inner join learners
    on so_far.enrollment_number = learners.enrollment_number
inner join calendar
    on
        learners.program_key = calendar.program_key
        and learners.first_term_key = calendar.first_term_key
        and so_far.week_number = calendar.week_number
left join lowest_so_far as lowest
    on
        so_far.enrollment_number = lowest.enrollment_number
        and so_far.week_number >= lowest.week_number
        and so_far.week_number < lowest.next_week_number
left join contacts
    on
        so_far.enrollment_number = contacts.enrollment_number
        and so_far.week_number = contacts.week_number
