-- What was known of a learner at the end of each week of a course. Grain: one row per learner × course × term × week,
-- for learners registered by then and weeks that have ended in the data.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_stale_weeks(this) }}"
) }}

-- Nothing dated on or after `as_of_on` may enter a row. Each fact therefore enters in the first week that knows it
-- (macro as_of_week) and is carried on by running sums; late events enter in the week in which they were received.
-- Numbers stand in for keys on the way: with the keys' text, joins and windows take several times as long.
{%- set activity_sums = ["click_count", "before_start_click_count"] + activity_click_columns()
    + ["active_days", "task_days"] %}
{%- set submitted_sums = [
    "submitted_item_count", "carried_over_item_count", "late_item_count", "lead_days", "lead_item_count",
] %}
{%- set due_sums = ["due_submitted_item_count", "on_time_item_count"] %}
{%- set score_sums = ["scored_item_count", "score_share", "scored_weight_share", "earned_weight_share"] %}
{%- set earlier_sums = ["earlier_course_count", "earlier_passed_course_count", "earlier_failed_course_count"] %}

{{ in_slices(50000, ref("fct_course_enrollment")) }}

with
{%- if is_incremental() %}
-- Weeks before anybody is registered have no rows, and are not to be built again for that.
built as (
    select
        course_offering_key,
        max(week_number) as last_week
    from {{ this }}
    group by course_offering_key
),
{%- endif %}

weeks as (
    select mart_course_week.*
    from {{ ref("mart_course_week") }} as mart_course_week
    {%- if is_incremental() %}
    left join built
        on mart_course_week.course_offering_key = built.course_offering_key
    {%- endif %}
    where {{ in_slice("mart_course_week.course_offering_key") }}
    {%- if is_incremental() %}
    and mart_course_week.week_number > coalesce(built.last_week, -1)
    {%- endif %}
),

offerings as (
    select
        dim_course_offering.course_offering_key,
        dim_course_offering.starts_on,
        cast(row_number() over (order by dim_course_offering.course_offering_key) as integer) as offering_number,
        min(weeks.week_number) as first_week
    from {{ ref("dim_course_offering") }} as dim_course_offering
    inner join weeks
        on dim_course_offering.course_offering_key = weeks.course_offering_key
    group by dim_course_offering.course_offering_key, dim_course_offering.starts_on
),

-- The first row of a learner stands for all that happened before: facts of earlier weeks enter there.
enrollments as (
    select
        fct_course_enrollment.*,
        offerings.starts_on,
        offerings.offering_number,
        cast(row_number() over (order by fct_course_enrollment.course_enrollment_key) as integer) as enrollment_number,
        greatest(
            0, offerings.first_week, {{ as_of_week("offerings.starts_on", "fct_course_enrollment.registered_on") }}
        ) as first_week
    from {{ ref("fct_course_enrollment") }} as fct_course_enrollment
    inner join offerings
        on fct_course_enrollment.course_offering_key = offerings.course_offering_key
    where fct_course_enrollment.registered_on is not null
),

-- Registrations that were dropped: the last one for good as far as is known, earlier ones until the learner came back.
drops as (
    select
        enrollments.enrollment_number,
        enrollments.course_offering_key,
        registrations.unregistered_on,
        registrations.returned_on
    from {{ ref("fct_course_registration") }} as registrations
    inner join enrollments
        on registrations.course_enrollment_key = enrollments.course_enrollment_key
    where registrations.unregistered_on is not null
),

last_drops as (
    select * from drops
    where returned_on is null
),

weeks_between as (
    select distinct
        drops.enrollment_number,
        weeks.week_number
    from drops
    inner join weeks
        on
            drops.course_offering_key = weeks.course_offering_key
            and drops.unregistered_on < weeks.as_of_on
            and drops.returned_on >= weeks.as_of_on
),

---------- activity

activity as (
    select
        fct_daily_activity.*,
        enrollments.enrollment_number,
        enrollments.starts_on,
        enrollments.first_week,
        {{ as_of_week("enrollments.starts_on", "fct_daily_activity.activity_on") }} as activity_week,
        {{ as_of_week("enrollments.starts_on", "fct_daily_activity.known_on") }} as known_week
    from {{ ref("fct_daily_activity") }} as fct_daily_activity
    inner join enrollments
        on fct_daily_activity.course_enrollment_key = enrollments.course_enrollment_key
    where {{ in_slice("fct_daily_activity.course_offering_key") }}
),

activity_entering as (
    select
        enrollment_number,
        greatest(known_week, first_week) as week_number,
        cast(sum(click_count) as integer) as click_count,
        cast(sum(click_count) filter (where activity_on < starts_on) as integer) as before_start_click_count,
        {%- for column in activity_click_columns() %}
        cast(sum({{ column }}) as integer) as {{ column }},
        {%- endfor %}
        cast(count(*) filter (where is_first_known) as integer) as active_days,
        cast(count(*) filter (where is_first_task_known) as integer) as task_days,
        sum(learning_seconds) as learning_seconds,
        sum(learning_seconds) filter (where activity_week = greatest(known_week, first_week))
            as last_week_learning_seconds,
        sum(learning_seconds) filter (where activity_week + 4 > known_week) as last_four_weeks_learning_seconds,
        cast(sum(click_count) filter (where activity_week = greatest(known_week, first_week)) as integer)
            as last_week_click_count,
        cast(
            count(*) filter (where is_first_known and activity_week = greatest(known_week, first_week)) as integer
        ) as last_week_active_days,
        cast(sum(click_count) filter (where activity_week + 4 > known_week) as integer) as last_four_weeks_click_count,
        cast(count(*) filter (where is_first_known and activity_week + 4 > known_week) as integer)
            as last_four_weeks_active_days,
        min(activity_on) filter (where is_first_known) as first_activity_on,
        max(activity_on) filter (where is_first_known) as last_activity_on
    from activity
    group by enrollment_number, greatest(known_week, first_week)
),

-- What is four weeks old leaves the sums of the last four weeks.
activity_leaving as (
    select
        enrollment_number,
        greatest(activity_week + 4, first_week) as week_number,
        cast(sum(click_count) as integer) as click_count,
        cast(count(*) filter (where is_first_known) as integer) as active_days,
        sum(learning_seconds) as learning_seconds
    from activity
    where activity_week + 4 > known_week
    group by enrollment_number, greatest(activity_week + 4, first_week)
),

---------- assessments, final exams left out: few offerings give their dates and hand-ins

attempts as (
    select
        fct_submission.submission_key,
        fct_submission.submitted_on,
        fct_submission.due_on,
        fct_submission.is_carried_over,
        fct_submission.lead_days,
        {{ exact("fct_submission.score_share") }} as score_share,
        fct_submission.score_known_on,
        {{ exact("coalesce(dim_course_item.weight_share, 0)") }} as weight_share,
        enrollments.enrollment_number,
        greatest(
            enrollments.first_week, {{ as_of_week("enrollments.starts_on", "fct_submission.submitted_on") }}
        ) as submitted_week,
        {{ as_of_week("enrollments.starts_on", "fct_submission.due_on") }} as due_week,
        greatest(
            enrollments.first_week, {{ as_of_week("enrollments.starts_on", "fct_submission.score_known_on") }}
        ) as scored_week,
        fct_submission.is_first,
        {{ exact("fct_submission.replaced_score_share") }} as replaced_score_share
    from {{ ref("fct_submission") }} as fct_submission
    inner join enrollments
        on fct_submission.course_enrollment_key = enrollments.course_enrollment_key
    inner join {{ ref("dim_course_item") }} as dim_course_item
        on fct_submission.course_item_key = dim_course_item.course_item_key
    where
        {{ in_slice("fct_submission.course_offering_key") }}
        and dim_course_item.is_graded
        and not dim_course_item.is_final_exam
),

-- A score known later replaces the one known before it: the change enters.
scores as (
    select
        enrollment_number,
        scored_week as week_number,
        score_share,
        score_known_on,
        submission_key,
        weight_share,
        replaced_score_share
    from attempts
    where score_share is not null
),

submitted_entering as (
    select
        enrollment_number,
        submitted_week as week_number,
        cast(count(*) as integer) as submitted_item_count,
        cast(count(*) filter (where is_carried_over) as integer) as carried_over_item_count,
        cast(count(*) filter (where lead_days < 0) as integer) as late_item_count,
        cast(sum(lead_days) filter (where not is_carried_over) as integer) as lead_days,
        cast(count(lead_days) filter (where not is_carried_over) as integer) as lead_item_count,
        max(submitted_on) filter (where not is_carried_over) as last_submitted_on
    from attempts
    where is_first
    group by enrollment_number, submitted_week
),

due_entering as (
    select
        enrollment_number,
        greatest(submitted_week, due_week) as week_number,
        cast(count(*) as integer) as due_submitted_item_count,
        cast(count(*) filter (where lead_days >= 0) as integer) as on_time_item_count
    from attempts
    where
        is_first
        and due_on is not null
    group by enrollment_number, greatest(submitted_week, due_week)
),

scores_entering as (
    select
        enrollment_number,
        week_number,
        cast(count(*) filter (where replaced_score_share is null) as integer) as scored_item_count,
        sum(score_share - coalesce(replaced_score_share, 0)) as score_share,
        sum(weight_share) filter (where replaced_score_share is null) as scored_weight_share,
        sum({{ exact("weight_share * (score_share - coalesce(replaced_score_share, 0))") }}) as earned_weight_share,
        max_by(score_share, (score_known_on, submission_key)) as last_score_share
    from scores
    group by enrollment_number, week_number
),

---------- earlier courses

earlier as (
    select
        fct_earlier_enrollment.*,
        enrollments.enrollment_number,
        enrollments.starts_on,
        enrollments.first_week
    from {{ ref("fct_earlier_enrollment") }} as fct_earlier_enrollment
    inner join enrollments
        on fct_earlier_enrollment.course_enrollment_key = enrollments.course_enrollment_key
),

earlier_dated as (
    select
        enrollment_number,
        greatest({{ as_of_week("starts_on", "registered_on") }}, first_week) as week_number,
        1 as earlier_course_count,
        0 as earlier_passed_course_count,
        0 as earlier_failed_course_count
    from earlier

    union all

    select
        enrollment_number,
        greatest({{ as_of_week("starts_on", "outcome_known_on") }}, first_week) as week_number,
        0 as earlier_course_count,
        case when outcome in ('pass', 'distinction') then 1 else 0 end as earlier_passed_course_count,
        case when outcome in ('fail', 'withdrawn') then 1 else 0 end as earlier_failed_course_count
    from earlier
    where outcome is not null
),

earlier_entering as (
    select
        enrollment_number,
        week_number,
        sum(earlier_course_count) as earlier_course_count,
        sum(earlier_passed_course_count) as earlier_passed_course_count,
        sum(earlier_failed_course_count) as earlier_failed_course_count
    from earlier_dated
    group by enrollment_number, week_number
),

---------- contacts

-- About this course, or about none in particular.
contacts as (
    select
        enrollments.enrollment_number,
        enrollments.starts_on,
        interventions.intervention_key,
        interventions.channel,
        interventions.contacted_at,
        interventions.contacted_on,
        {{ as_of_week("enrollments.starts_on", "interventions.known_on") }} as known_week
    from {{ ref("fct_intervention") }} as interventions
    inner join enrollments
        on interventions.learner_key = enrollments.learner_key
    where
        coalesce(interventions.course_key = enrollments.course_key, true)
        and coalesce(interventions.program_key = enrollments.program_key, true)
),

---------- all of it, week by week

learners as (
    select * from {{ ref("dim_learner") }}
),

sources as (
    select * from {{ ref("dim_source") }}
),

-- A source without any item of a kind cannot count its clicks: null, not 0.
kinds as (
    {{ kinds_of_sources(ref("dim_course_item")) }}
),

learner_weeks as (
    select
        enrollments.enrollment_number,
        enrollments.offering_number,
        weeks.week_number,
        coalesce(last_drops.unregistered_on >= weeks.as_of_on, true) and weeks_between.week_number is null
            as is_enrolled
    from weeks
    inner join enrollments
        on
            weeks.course_offering_key = enrollments.course_offering_key
            and weeks.week_number >= enrollments.first_week
    left join last_drops
        on enrollments.enrollment_number = last_drops.enrollment_number
    left join weeks_between
        on
            enrollments.enrollment_number = weeks_between.enrollment_number
            and weeks.week_number = weeks_between.week_number
),

-- The newest recent one of those in the log by then.
contacted as (
    select
        learner_weeks.enrollment_number,
        learner_weeks.week_number,
        max_by(contacts.channel, (contacts.contacted_at, contacts.intervention_key)) as contact_channel
    from learner_weeks
    inner join contacts
        on
            learner_weeks.enrollment_number = contacts.enrollment_number
            and learner_weeks.week_number >= contacts.known_week
    where
        {{ days_between("contacts.contacted_on", add_days("contacts.starts_on", "7 * learner_weeks.week_number")) }}
        <= {{ var("recent_contact_days") }}
    group by learner_weeks.enrollment_number, learner_weeks.week_number
),

activity_so_far as (
    select
        learner_weeks.*,
        {%- for column in activity_sums %}
        cast(coalesce(sum(activity_entering.{{ column }}) over so_far, 0) as integer) as {{ column }},
        {%- endfor %}
        coalesce(activity_entering.last_week_click_count, 0) as last_week_click_count,
        coalesce(activity_entering.last_week_active_days, 0) as last_week_active_days,
        sum(
            coalesce(activity_entering.last_four_weeks_click_count, 0) - coalesce(activity_leaving.click_count, 0)
        ) over so_far as last_four_weeks_click_count,
        sum(
            coalesce(activity_entering.last_four_weeks_active_days, 0) - coalesce(activity_leaving.active_days, 0)
        ) over so_far as last_four_weeks_active_days,
        coalesce(sum(activity_entering.learning_seconds) over so_far, 0) as learning_seconds,
        coalesce(activity_entering.last_week_learning_seconds, 0) as last_week_learning_seconds,
        sum(
            coalesce(activity_entering.last_four_weeks_learning_seconds, 0)
            - coalesce(activity_leaving.learning_seconds, 0)
        ) over so_far as last_four_weeks_learning_seconds,
        min(activity_entering.first_activity_on) over so_far as first_activity_on,
        max(activity_entering.last_activity_on) over so_far as last_activity_on
    from learner_weeks
    left join activity_entering
        on
            learner_weeks.enrollment_number = activity_entering.enrollment_number
            and learner_weeks.week_number = activity_entering.week_number
    left join activity_leaving
        on
            learner_weeks.enrollment_number = activity_leaving.enrollment_number
            and learner_weeks.week_number = activity_leaving.week_number
    window so_far as (
        partition by learner_weeks.enrollment_number
        order by learner_weeks.week_number
        rows between unbounded preceding and current row
    )
),

-- Few weeks change these: each state holds from its week to the next one's.

submitted_so_far as (
    {{ states("submitted_entering", submitted_sums, "max(last_submitted_on) over so_far as last_submitted_on") }}
),

due_so_far as (
    {{ states("due_entering", due_sums) }}
),

scores_so_far as (
    {{ states("scores_entering", score_sums, "last_score_share") }}
),

earlier_so_far as (
    {{ states("earlier_entering", earlier_sums) }}
),

so_far as (
    select
        activity_so_far.*,
        {%- for column in submitted_sums %}
        coalesce(submitted_so_far.{{ column }}, 0) as {{ column }},
        {%- endfor %}
        {%- for column in due_sums %}
        coalesce(due_so_far.{{ column }}, 0) as {{ column }},
        {%- endfor %}
        {%- for column in score_sums %}
        cast(coalesce(scores_so_far.{{ column }}, 0) as double) as {{ column }},
        {%- endfor %}
        {%- for column in earlier_sums %}
        coalesce(earlier_so_far.{{ column }}, 0) as {{ column }},
        {%- endfor %}
        submitted_so_far.last_submitted_on,
        cast(scores_so_far.last_score_share as double) as last_score_share
    from activity_so_far
    left join submitted_so_far
        on
            activity_so_far.enrollment_number = submitted_so_far.enrollment_number
            and activity_so_far.week_number >= submitted_so_far.week_number
            and activity_so_far.week_number < submitted_so_far.next_week_number
    left join due_so_far
        on
            activity_so_far.enrollment_number = due_so_far.enrollment_number
            and activity_so_far.week_number >= due_so_far.week_number
            and activity_so_far.week_number < due_so_far.next_week_number
    left join scores_so_far
        on
            activity_so_far.enrollment_number = scores_so_far.enrollment_number
            and activity_so_far.week_number >= scores_so_far.week_number
            and activity_so_far.week_number < scores_so_far.next_week_number
    left join earlier_so_far
        on
            activity_so_far.enrollment_number = earlier_so_far.enrollment_number
            and activity_so_far.week_number >= earlier_so_far.week_number
            and activity_so_far.week_number < earlier_so_far.next_week_number
),

-- Rank among the learners of the offering that are enrolled in the same week: 0 the lowest, 1 the highest.
ranked as (
    select
        enrollment_number,
        week_number,
        percent_rank() over (partition by offering_number, week_number order by click_count) as click_rank_share,
        percent_rank() over (partition by offering_number, week_number order by active_days) as active_days_rank_share,
        percent_rank() over (partition by offering_number, week_number order by earned_weight_share)
            as earned_rank_share
    from so_far
    where is_enrolled
)

select
    enrollments.source,
    enrollments.course_enrollment_key,
    enrollments.learner_key,
    weeks.course_offering_key,
    weeks.course_key,
    weeks.program_key,
    weeks.term_key,

    weeks.week_number,
    weeks.as_of_on,
    so_far.is_enrolled,
    weeks.elapsed_share,

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
    enrollments.studied_credits,
    enrollments.previous_attempt_count,
    {{ days_between("enrollments.registered_on", "enrollments.starts_on") }} as registration_lead_days,
    {%- for column in earlier_sums %}
    cast(so_far.{{ column }} as integer) as {{ column }},
    {%- endfor %}

    ---------- activity
    cast(so_far.click_count as integer) as click_count,
    cast(so_far.last_week_click_count as integer) as last_week_click_count,
    cast(so_far.last_four_weeks_click_count as integer) as last_four_weeks_click_count,
    cast(so_far.before_start_click_count as integer) as before_start_click_count,
    {%- for kind in activity_kinds() %}
    cast(case when kinds.has_{{ kind }} then so_far.{{ kind }}_click_count end as integer) as {{ kind }}_click_count,
    {%- endfor %}
    cast(so_far.active_days as integer) as active_days,
    cast(so_far.last_week_active_days as integer) as last_week_active_days,
    cast(so_far.last_four_weeks_active_days as integer) as last_four_weeks_active_days,
    case when sources.has_tasks then so_far.task_days end as task_days,
    {%- for column in ["learning", "last_week_learning", "last_four_weeks_learning"] %}
    case when sources.has_learning_time then so_far.{{ column }}_seconds / cast(60 as double) end
        as {{ column }}_minutes,
    {%- endfor %}
    {{ days_between("enrollments.starts_on", "so_far.first_activity_on") }} as first_activity_day,
    {{ days_between("so_far.last_activity_on", "weeks.as_of_on") }} as since_last_activity_days,

    ---------- assessments
    weeks.due_item_count,
    weeks.due_weight_share,
    weeks.next_due_days,
    cast(so_far.submitted_item_count as integer) as submitted_item_count,
    cast(so_far.carried_over_item_count as integer) as carried_over_item_count,
    case
        when weeks.due_item_count > 0 or weeks.next_due_days is not null then cast(so_far.late_item_count as integer)
    end as late_item_count,
    cast(weeks.due_item_count - so_far.due_submitted_item_count as integer) as missing_item_count,
    so_far.due_submitted_item_count / nullif(cast(weeks.due_item_count as double), 0) as submitted_share,
    so_far.on_time_item_count / nullif(cast(weeks.due_item_count as double), 0) as on_time_share,
    so_far.lead_days / nullif(cast(so_far.lead_item_count as double), 0) as mean_submission_lead_days,
    {{ days_between("so_far.last_submitted_on", "weeks.as_of_on") }} as since_last_submission_days,
    cast(so_far.scored_item_count as integer) as scored_item_count,
    so_far.score_share / nullif(cast(so_far.scored_item_count as double), 0) as mean_score_share,
    so_far.last_score_share,
    so_far.earned_weight_share / nullif(so_far.scored_weight_share, 0) as weighted_score_share,
    so_far.earned_weight_share / nullif(weeks.due_weight_share, 0) as earned_share,

    ---------- contacts
    case when sources.has_interventions then coalesce(contacted.contact_channel, 'none') end as contact_channel,

    ---------- among peers
    ranked.click_rank_share,
    ranked.active_days_rank_share,
    ranked.earned_rank_share,

    weeks.inputs_hash
from so_far
inner join enrollments
    on so_far.enrollment_number = enrollments.enrollment_number
inner join weeks
    on
        enrollments.course_offering_key = weeks.course_offering_key
        and so_far.week_number = weeks.week_number
inner join learners
    on enrollments.learner_key = learners.learner_key
left join kinds
    on enrollments.source = kinds.source
left join sources
    on enrollments.source = sources.source
left join contacted
    on
        so_far.enrollment_number = contacted.enrollment_number
        and so_far.week_number = contacted.week_number
left join ranked
    on
        so_far.enrollment_number = ranked.enrollment_number
        and so_far.week_number = ranked.week_number
