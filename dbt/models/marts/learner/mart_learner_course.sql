-- Learners in courses, from registration to result. Grain: one row per source × learner × course × term.
-- It knows how the course ended: for predictions take mart_learner_course_week, which does not.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['course_enrollment_key'], learner_course_inputs()) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

{{ in_slices(50000, ref("fct_course_enrollment")) }}

with enrollments as (
    {{ enrollments_with_offerings() }}
    where
        {{ in_slice("fct_course_enrollment.course_offering_key") }}
        and {{ is_touched(["course_enrollment_key"], alias="fct_course_enrollment") }}
),

results as (
    {{ offerings_with_results() }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

versions as (
    select
        course_version_key,
        first_due_item_key,
        first_due_day,
        -- The first day of the second half.
        cast(floor(7 * week_count / 2.0) as integer) as midpoint_day
    from {{ ref("mart_course_version") }}
),

sources as (
    {{ told_by_sources() }}
),

-- A source without any item of a kind cannot count its clicks: null, not 0.
kinds as (
    {{ kinds_of_sources(ref("dim_course_item")) }}
),

-- Points of a course, as dates. A course without a term is taken at any time: days from its start say nothing.
points as (
    select
        enrollments.course_enrollment_key,
        {{ add_days("enrollments.starts_on", "versions.first_due_day") }} as first_due_on,
        {{ add_days("enrollments.starts_on", "versions.midpoint_day") }} as midpoint_on
    from enrollments
    inner join versions
        on enrollments.course_version_key = versions.course_version_key
    where enrollments.term_key is not null
),

---------- activity

activity as (
    select
        days.course_enrollment_key,
        sum(days.click_count) as click_count,
        {%- for column in activity_click_columns() %}
        sum(days.{{ column }}) as {{ column }},
        {%- endfor %}
        count(*) filter (where days.is_first_known) as active_days,
        min(days.activity_on) filter (where days.is_first_known) as first_activity_on,
        max(days.activity_on) filter (where days.is_first_known) as last_activity_on,

        count(*) filter (where days.is_first_task_known) as days_active,
        count(*) filter (where days.is_first_task_known and days.activity_on <= points.first_due_on)
            as first_deadline_days_active,
        count(*) filter (where days.is_first_task_known and days.activity_on < points.midpoint_on)
            as midpoint_days_active,
        sum(days.learning_seconds) as learning_seconds,
        sum(days.learning_seconds) filter (where days.activity_on <= points.first_due_on)
            as first_deadline_learning_seconds,
        sum(days.learning_seconds) filter (where days.activity_on < points.midpoint_on) as midpoint_learning_seconds,
        count(*) filter (where days.is_first_forum_known) as forum_days,
        count(*) filter (where days.is_first_posting_known) as forum_posting_days,
        sum(days.forum_thread_count) as forum_thread_count,
        sum(days.forum_reply_count) as forum_reply_count
    from {{ ref("fct_daily_activity") }} as days
    left join points
        on days.course_enrollment_key = points.course_enrollment_key
    where
        {{ in_slice("days.course_offering_key") }}
        and {{ is_touched(["course_enrollment_key"], alias="days") }}
    group by days.course_enrollment_key
),

---------- assessments, final exams apart: few offerings give their dates and hand-ins

items as (
    select * from {{ ref("dim_course_item") }}
    where is_graded
),

due_items as (
    select
        items.course_version_key,
        count(*) as due_item_count,
        count(items.due_day) as dated_item_count,
        sum({{ exact("coalesce(items.weight_share, 0)") }}) as due_weight_share,
        sum({{ exact("items.weight_share") }}) filter (where items.due_day <= versions.first_due_day)
            as first_deadline_weight_share,
        sum({{ exact("items.weight_share") }}) filter (where items.due_day < versions.midpoint_day)
            as midpoint_weight_share,
        sum({{ exact("items.weight_share") }}) filter (where items.due_day is not null) as end_weight_share
    from items
    inner join versions
        on items.course_version_key = versions.course_version_key
    where not items.is_final_exam
    group by items.course_version_key
),

attempts as (
    select
        fct_submission.*,
        items.is_final_exam,
        items.due_day,
        coalesce(items.weight_share, 0) as weight_share,
        case when fct_submission.score_share is not null then coalesce(items.weight_share, 0) end
            as scored_weight_share
    from {{ ref("fct_submission") }} as fct_submission
    inner join items
        on fct_submission.course_item_key = items.course_item_key
    where
        {{ in_slice("fct_submission.course_offering_key") }}
        and {{ is_touched(["course_enrollment_key"], alias="fct_submission") }}
),

assessments as (
    select
        attempts.course_enrollment_key,
        count(*) filter (where attempts.is_first) as submitted_item_count,
        count(*) filter (where attempts.is_first and attempts.is_carried_over) as carried_over_item_count,
        count(*) filter (where attempts.is_first and attempts.lead_days < 0) as late_item_count,
        count(*) filter (where attempts.is_first and attempts.lead_days >= 0) as on_time_item_count,
        avg(attempts.lead_days) filter (where attempts.is_first and not attempts.is_carried_over)
            as mean_submission_lead_days,
        bool_or(attempts.lead_days >= 0) filter (where attempts.is_first and attempts.due_day = versions.first_due_day)
            as is_first_item_on_time,
        bool_or(attempts.lead_days >= 0) filter (
            where attempts.is_first and attempts.course_item_key = versions.first_due_item_key
        ) as is_first_on_time,
        max(attempts.score_share) filter (
            where attempts.is_first and attempts.course_item_key = versions.first_due_item_key
        ) as first_score_share,
        {%- for point, condition in {
            "first_deadline": " and attempts.due_day <= versions.first_due_day",
            "midpoint": " and attempts.due_day < versions.midpoint_day",
            "end": "",
        }.items() %}
        sum({{ exact("attempts.weight_share") }}) filter (
            where attempts.is_first and attempts.lead_days >= 0{{ condition }}
        ) as {{ point }}_weight_share,
        {%- endfor %}
        count(attempts.score_share) filter (where attempts.is_scored_last) as scored_item_count,
        cast(avg({{ exact("attempts.score_share") }}) filter (where attempts.is_scored_last) as double)
            as mean_score_share,
        sum({{ exact("attempts.weight_share * attempts.score_share") }}) filter (where attempts.is_scored_last)
            as earned_weight_share,
        sum({{ exact("attempts.scored_weight_share") }}) filter (where attempts.is_scored_last) as scored_weight_share
    from attempts
    inner join enrollments
        on attempts.course_enrollment_key = enrollments.course_enrollment_key
    inner join versions
        on enrollments.course_version_key = versions.course_version_key
    where not attempts.is_final_exam
    group by attempts.course_enrollment_key
),

exams as (
    select
        course_enrollment_key,
        cast(avg({{ exact("score_share") }}) as double) as exam_score_share
    from attempts
    where
        is_final_exam
        and is_scored_last
    group by course_enrollment_key
),

---------- earlier courses, as known at the start of this one

earlier as (
    select
        fct_earlier_enrollment.course_enrollment_key,
        count(*) as earlier_course_count,
        count(*) filter (
            where
            fct_earlier_enrollment.outcome in ('pass', 'distinction')
            and fct_earlier_enrollment.outcome_known_on < enrollments.starts_on
        ) as earlier_passed_course_count,
        count(*) filter (
            where
            fct_earlier_enrollment.outcome in ('fail', 'withdrawn')
            and fct_earlier_enrollment.outcome_known_on < enrollments.starts_on
        ) as earlier_failed_course_count
    from {{ ref("fct_earlier_enrollment") }} as fct_earlier_enrollment
    inner join enrollments
        on fct_earlier_enrollment.course_enrollment_key = enrollments.course_enrollment_key
    where fct_earlier_enrollment.registered_on < enrollments.starts_on
    group by fct_earlier_enrollment.course_enrollment_key
)

select
    enrollments.source,
    enrollments.course_enrollment_key,
    enrollments.learner_key,
    enrollments.course_offering_key,
    enrollments.course_key,
    enrollments.program_key,
    enrollments.term_key,

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
    enrollments.is_paid,
    enrollments.studied_credits,
    enrollments.previous_attempt_count,
    enrollments.registered_on,
    {{ days_between("enrollments.registered_on", "enrollments.starts_on") }} as registration_lead_days,
    cast(coalesce(earlier.earlier_course_count, 0) as integer) as earlier_course_count,
    cast(coalesce(earlier.earlier_passed_course_count, 0) as integer) as earlier_passed_course_count,
    cast(coalesce(earlier.earlier_failed_course_count, 0) as integer) as earlier_failed_course_count,

    ---------- how it ended
    enrollments.unregistered_on,
    {{ days_between("enrollments.starts_on", "enrollments.unregistered_on") }} as unregistered_day,
    enrollments.last_dropped_on,
    enrollments.outcome,
    enrollments.outcome_known_on,
    enrollments.is_self_paced,
    case
        when enrollments.is_self_paced and enrollments.completed_on is not null then 'completed'
        when enrollments.is_self_paced then 'not_completed'
        when enrollments.outcome in ('pass', 'distinction') then 'passed'
        when enrollments.outcome = 'fail' then 'failed'
        when enrollments.outcome = 'withdrawn' then 'withdrawn'
        when coalesce(enrollments.ends_on <= sources.last_data_on, false) then 'not_told'
        else 'running'
    end as outcome_state,
    -- A course in a term must have ended; one taken at any time may be completed yet.
    case
        when enrollments.is_self_paced then enrollments.completed_on is not null
        else
            enrollments.outcome is not null
            and results.are_told
            and (enrollments.ends_on is null or coalesce(enrollments.ends_on <= sources.last_data_on, false))
    end as is_outcome_final,
    case when enrollments.is_self_paced then enrollments.completed_on is not null end as is_completed,
    case
        when enrollments.is_self_paced and enrollments.completed_on is not null then true
        when not enrollments.is_self_paced then enrollments.outcome in ('pass', 'distinction')
    end as is_passed,
    case when not enrollments.is_self_paced then enrollments.outcome = 'withdrawn' end as is_withdrawn,
    case when not enrollments.is_self_paced then enrollments.outcome in ('fail', 'withdrawn') end
        as is_failed_or_withdrawn,
    enrollments.final_grade_share,
    case when not coalesce(enrollments.outcome = 'withdrawn', false) then 100 * enrollments.final_grade_share end
        as final_grade_percent,

    ---------- activity
    activity.click_count is not null as has_activity,
    cast(coalesce(activity.click_count, 0) as integer) as click_count,
    {%- for kind in activity_kinds() %}
    cast(case when kinds.has_{{ kind }} then coalesce(activity.{{ kind }}_click_count, 0) end as integer)
        as {{ kind }}_click_count,
    {%- endfor %}
    cast(coalesce(activity.active_days, 0) as integer) as active_days,
    {{ days_between("enrollments.starts_on", "activity.first_activity_on") }} as first_activity_day,
    {{ days_between("enrollments.starts_on", "activity.last_activity_on") }} as last_activity_day,

    ---------- learning: days with a task, and time in sessions
    case when sources.tells_tasks then cast(coalesce(activity.days_active, 0) as integer) end as days_active,
    case when sources.tells_learning_time then coalesce(activity.learning_seconds, 0) / cast(3600 as double) end
        as learning_hours,
    case
        when sources.tells_tasks and points.first_due_on is not null
            then cast(coalesce(activity.first_deadline_days_active, 0) as integer)
    end as first_deadline_days_active,
    case
        when sources.tells_learning_time and points.first_due_on is not null
            then coalesce(activity.first_deadline_learning_seconds, 0) / cast(3600 as double)
    end as first_deadline_learning_hours,
    case
        when sources.tells_tasks and points.midpoint_on is not null
            then cast(coalesce(activity.midpoint_days_active, 0) as integer)
    end as midpoint_days_active,
    case
        when sources.tells_learning_time and points.midpoint_on is not null
            then coalesce(activity.midpoint_learning_seconds, 0) / cast(3600 as double)
    end as midpoint_learning_hours,

    ---------- forum
    {%- for column in ["forum_days", "forum_posting_days", "forum_thread_count", "forum_reply_count"] %}
    case when sources.tells_forum then cast(coalesce(activity.{{ column }}, 0) as integer) end as {{ column }},
    {%- endfor %}

    ---------- assessments
    cast(coalesce(due_items.due_item_count, 0) as integer) as due_item_count,
    cast(coalesce(assessments.submitted_item_count, 0) as integer) as submitted_item_count,
    cast(coalesce(assessments.carried_over_item_count, 0) as integer) as carried_over_item_count,
    case
        when not enrollments.is_self_paced and due_items.dated_item_count > 0
            then cast(coalesce(assessments.late_item_count, 0) as integer)
    end as late_item_count,
    coalesce(assessments.submitted_item_count, 0) / nullif(cast(due_items.due_item_count as double), 0)
        as submitted_share,
    case
        when not enrollments.is_self_paced
            then coalesce(assessments.on_time_item_count, 0) / nullif(cast(due_items.dated_item_count as double), 0)
    end as on_time_share,
    case when points.first_due_on is not null then coalesce(assessments.is_first_item_on_time, false) end
        as is_first_item_on_time,
    assessments.mean_submission_lead_days,
    cast(coalesce(assessments.scored_item_count, 0) as integer) as scored_item_count,
    assessments.mean_score_share,
    cast(assessments.earned_weight_share as double) / nullif(assessments.scored_weight_share, 0)
        as weighted_score_share,
    cast(coalesce(assessments.earned_weight_share, 0) as double) / nullif(due_items.due_weight_share, 0)
        as earned_share,

    ---------- hand-ins by the due day
    {%- for point in ["first_deadline", "midpoint", "end"] %}
    case
        when sources.tells_submissions and points.midpoint_on is not null
            then
                cast(coalesce(assessments.{{ point }}_weight_share, 0) as double)
                / nullif(cast(due_items.{{ point }}_weight_share as double), 0)
    end as {{ point }}_submitted_share,
    {%- endfor %}
    case
        when sources.tells_submissions and points.first_due_on is not null
            then coalesce(assessments.is_first_on_time, false)
    end as is_first_on_time,
    case
        when sources.tells_submissions and points.first_due_on is not null and enrollments.passing_share is not null
            then
                coalesce(assessments.is_first_on_time, false)
                and assessments.first_score_share >= enrollments.passing_share
    end as has_passed_first,
    exams.exam_score_share
from enrollments
inner join learners
    on enrollments.learner_key = learners.learner_key
inner join results
    on enrollments.course_offering_key = results.course_offering_key
left join sources
    on enrollments.source = sources.source
left join kinds
    on enrollments.source = kinds.source
left join points
    on enrollments.course_enrollment_key = points.course_enrollment_key
left join activity
    on enrollments.course_enrollment_key = activity.course_enrollment_key
left join due_items
    on enrollments.course_version_key = due_items.course_version_key
left join assessments
    on enrollments.course_enrollment_key = assessments.course_enrollment_key
left join exams
    on enrollments.course_enrollment_key = exams.course_enrollment_key
left join earlier
    on enrollments.course_enrollment_key = earlier.course_enrollment_key
