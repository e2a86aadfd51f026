-- Learners in courses, from registration to result. Grain: one row per source × learner × course × term.
-- It knows how the course ended: for predictions take mart_learner_course_week, which does not.
with enrollments as (
    select
        fct_course_enrollment.*,
        dim_course_offering.starts_on,
        dim_course_offering.ends_on,
        dim_course_offering.course_version_key
    from {{ ref("fct_course_enrollment") }} as fct_course_enrollment
    inner join {{ ref("dim_course_offering") }} as dim_course_offering
        on fct_course_enrollment.course_offering_key = dim_course_offering.course_offering_key
),

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

---------- activity

activity as (
    select
        course_enrollment_key,
        sum(click_count) as click_count,
        {%- for column in activity_click_columns() %}
        sum({{ column }}) as {{ column }},
        {%- endfor %}
        count(*) filter (where is_first_known) as active_days,
        min(activity_on) as first_activity_on,
        max(activity_on) as last_activity_on
    from {{ ref("fct_daily_activity") }}
    group by course_enrollment_key
),

---------- assessments, final exams apart: few offerings give their dates and hand-ins

items as (
    select * from {{ ref("dim_course_item") }}
    where is_graded
),

due_items as (
    select
        course_version_key,
        count(*) as due_item_count,
        sum({{ exact("coalesce(weight_share, 0)") }}) as due_weight_share,
        min(due_day) as first_due_day
    from items
    where not is_final_exam
    group by course_version_key
),

attempts as (
    select
        fct_submission.*,
        items.is_final_exam,
        items.due_day,
        coalesce(items.weight_share, 0) as weight_share,
        case when fct_submission.score_share is not null then coalesce(items.weight_share, 0) end
            as scored_weight_share,
        row_number() over (
            partition by fct_submission.course_enrollment_key, fct_submission.course_item_key
            order by fct_submission.submitted_on, fct_submission.attempt_number
        ) = 1 as is_first,
        row_number() over (
            partition by fct_submission.course_enrollment_key, fct_submission.course_item_key
            order by
                case when fct_submission.score_share is null then 1 else 0 end,
                fct_submission.score_known_on desc,
                fct_submission.attempt_number desc
        ) = 1 as is_scored_last
    from {{ ref("fct_submission") }} as fct_submission
    inner join items
        on fct_submission.course_item_key = items.course_item_key
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
        bool_or(attempts.lead_days >= 0) filter (where attempts.is_first and attempts.due_day = due_items.first_due_day)
            as is_first_item_on_time,
        count(attempts.score_share) filter (where attempts.is_scored_last) as scored_item_count,
        avg({{ exact("attempts.score_share") }}) filter (where attempts.is_scored_last) as mean_score_share,
        sum({{ exact("attempts.weight_share * attempts.score_share") }}) filter (where attempts.is_scored_last)
            as earned_weight_share,
        sum({{ exact("attempts.scored_weight_share") }}) filter (where attempts.is_scored_last) as scored_weight_share
    from attempts
    inner join enrollments
        on attempts.course_enrollment_key = enrollments.course_enrollment_key
    inner join due_items
        on enrollments.course_version_key = due_items.course_version_key
    where not attempts.is_final_exam
    group by attempts.course_enrollment_key
),

exams as (
    select
        course_enrollment_key,
        avg({{ exact("score_share") }}) as exam_score_share
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
    enrollments.outcome,
    enrollments.outcome_known_on,
    enrollments.outcome is not null
    and coalesce(enrollments.ends_on <= sources.last_data_on, false) as is_outcome_final,
    enrollments.outcome in ('pass', 'distinction') as is_passed,
    enrollments.outcome = 'withdrawn' as is_withdrawn,
    enrollments.outcome in ('fail', 'withdrawn') as is_failed_or_withdrawn,
    enrollments.final_grade_share,

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

    ---------- assessments
    cast(coalesce(due_items.due_item_count, 0) as integer) as due_item_count,
    cast(coalesce(assessments.submitted_item_count, 0) as integer) as submitted_item_count,
    cast(coalesce(assessments.carried_over_item_count, 0) as integer) as carried_over_item_count,
    cast(coalesce(assessments.late_item_count, 0) as integer) as late_item_count,
    coalesce(assessments.submitted_item_count, 0) / nullif(cast(due_items.due_item_count as double), 0)
        as submitted_share,
    coalesce(assessments.on_time_item_count, 0) / nullif(cast(due_items.due_item_count as double), 0) as on_time_share,
    case when due_items.first_due_day is not null then coalesce(assessments.is_first_item_on_time, false) end
        as is_first_item_on_time,
    assessments.mean_submission_lead_days,
    cast(coalesce(assessments.scored_item_count, 0) as integer) as scored_item_count,
    assessments.mean_score_share,
    assessments.earned_weight_share / nullif(assessments.scored_weight_share, 0) as weighted_score_share,
    coalesce(assessments.earned_weight_share, 0) / nullif(due_items.due_weight_share, 0) as earned_share,
    exams.exam_score_share
from enrollments
inner join learners
    on enrollments.learner_key = learners.learner_key
left join sources
    on enrollments.source = sources.source
left join kinds
    on enrollments.source = kinds.source
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
