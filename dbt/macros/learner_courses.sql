{# What mart_learner_course follows. #}

{# Enrollments with what their course says. Conditions may follow. #}
{% macro enrollments_with_offerings() %}
    select
        fct_course_enrollment.*,
        dim_course_offering.starts_on,
        dim_course_offering.ends_on,
        dim_course_offering.course_version_key,
        dim_course.passing_share,
        -- In no term, a course is taken at any time.
        fct_course_enrollment.term_key is null as is_self_paced
    from {{ ref("fct_course_enrollment") }} as fct_course_enrollment
    inner join {{ ref("dim_course_offering") }} as dim_course_offering
        on fct_course_enrollment.course_offering_key = dim_course_offering.course_offering_key
    inner join {{ ref("dim_course") }} as dim_course
        on fct_course_enrollment.course_key = dim_course.course_key
{% endmacro %}


{#
    Whether results of an offering are told. Who left is known at once, how the others ended some time after the last
    day: until then nothing is final.
#}
{% macro offerings_with_results() %}
    select
        course_offering_key,
        coalesce(bool_or(outcome <> 'withdrawn'), false) or count(*) = count(outcome) as are_told
    from {{ ref("fct_course_enrollment") }}
    where {{ in_slice("course_offering_key") }}
    group by course_offering_key
{% endmacro %}


{# What sources tell at all: what one never tells is null for its learners, and not 0. #}
{% macro told_by_sources() %}
    select
        dim_source.source,
        dim_source.last_data_on,
        coalesce(activity_of_sources.tells_tasks, false) as tells_tasks,
        coalesce(activity_of_sources.tells_learning_time, false) as tells_learning_time,
        coalesce(activity_of_sources.tells_forum, false) as tells_forum,
        dim_source.source in (select distinct submissions.source from {{ ref("fct_submission") }} as submissions)
            as tells_submissions
    from {{ ref("dim_source") }} as dim_source
    left join (
        select
            source,
            bool_or(task_count is not null) as tells_tasks,
            bool_or(learning_seconds is not null) as tells_learning_time,
            bool_or(forum_view_count is not null) as tells_forum
        from {{ ref("fct_daily_activity") }}
        group by source
    ) as activity_of_sources
        on dim_source.source = activity_of_sources.source
{% endmacro %}


{# From what the row of an enrollment follows. #}
{% macro learner_course_inputs() %}
{%- set hashed = [
    "enrollments.source", "enrollments.learner_key", "enrollments.course_offering_key", "enrollments.course_key",
    "enrollments.program_key", "enrollments.term_key", "enrollments.is_paid", "enrollments.studied_credits",
    "enrollments.previous_attempt_count", "enrollments.registered_on", "enrollments.unregistered_on",
    "enrollments.last_dropped_on", "enrollments.completed_on", "enrollments.outcome", "enrollments.outcome_known_on",
    "enrollments.final_grade_share", "enrollments.starts_on", "enrollments.ends_on",
    "enrollments.course_version_key", "enrollments.passing_share", "enrollments.is_self_paced",
    "learners.gender", "learners.age_band", "learners.birth_year", "learners.country", "learners.region",
    "learners.education_level", "learners.employment_status", "learners.deprivation_band",
    "learners.has_disability", "results.are_told", "enrollments.ends_on <= sources.last_data_on",
    "sources.tells_tasks", "sources.tells_learning_time", "sources.tells_forum", "sources.tells_submissions",
    "versions.first_due_item_key", "versions.first_due_day", "versions.week_count", "graded.items_hash",
    "facts.facts_hash",
] %}
{%- for flag in kind_flags() %}{% do hashed.append("kinds." ~ flag) %}{% endfor %}
with enrollments as (
    {{ enrollments_with_offerings() }}
),

results as (
    {{ offerings_with_results() }}
),

sources as (
    {{ told_by_sources() }}
),

kinds as (
    {{ kinds_of_sources(ref("dim_course_item")) }}
),

graded as (
    select
        course_version_key,
        sum({{ row_hash(["course_item_key", "due_day", "weight_share", "is_final_exam"]) }}) as items_hash
    from {{ ref("dim_course_item") }}
    where is_graded
    group by course_version_key
),

all_facts as (
    select
        course_enrollment_key,
        {{ row_hash(["activity_on", "known_on"] + activity_measures()) }} as fact_hash
    from {{ ref("fct_daily_activity") }}

    union all

    select
        submissions.course_enrollment_key,
        {{ row_hash([
            "submissions.submission_key", "submissions.course_item_key", "submissions.is_first",
            "submissions.is_scored_last", "submissions.is_carried_over", "submissions.lead_days",
            "submissions.score_share", "items.is_graded", "items.is_final_exam", "items.due_day", "items.weight_share",
        ]) }}
    from {{ ref("fct_submission") }} as submissions
    left join {{ ref("dim_course_item") }} as items
        on submissions.course_item_key = items.course_item_key

    union all

    select
        course_enrollment_key,
        {{ row_hash([
            "'earlier'", "earlier_course_enrollment_key", "registered_on", "outcome", "outcome_known_on",
        ]) }}
    from {{ ref("fct_earlier_enrollment") }}
),

facts as (
    select
        course_enrollment_key,
        sum(fact_hash) as facts_hash
    from all_facts
    group by course_enrollment_key
)

select
    enrollments.course_enrollment_key,
    {{ row_hash(hashed) }} as inputs_hash
from enrollments
inner join {{ ref("dim_learner") }} as learners
    on enrollments.learner_key = learners.learner_key
inner join results
    on enrollments.course_offering_key = results.course_offering_key
left join {{ ref("mart_course_version") }} as versions
    on enrollments.course_version_key = versions.course_version_key
left join graded
    on enrollments.course_version_key = graded.course_version_key
left join sources
    on enrollments.source = sources.source
left join kinds
    on enrollments.source = kinds.source
left join facts
    on enrollments.course_enrollment_key = facts.course_enrollment_key
{% endmacro %}
