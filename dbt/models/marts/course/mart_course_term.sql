-- Courses as taught in a term: design, learners, results. Grain: one row per source × course × term.
with offerings as (
    select * from {{ ref("dim_course_offering") }}
),

versions as (
    select * from {{ ref("mart_course_version") }}
),

program_offerings as (
    select * from {{ ref("dim_program_offering") }}
),

learner_courses as (
    select * from {{ ref("mart_learner_course") }}
),

items as (
    select * from {{ ref("dim_course_item") }}
),

designs as (
    select
        course_version_key,
        count(*) filter (where not is_graded) as content_item_count,
        {%- for kind in activity_kinds() %}
        count(*) filter (where not is_graded and activity_kind = '{{ kind }}') as {{ kind }}_item_count,
        {%- endfor %}
        count(*) filter (where is_graded and not is_final_exam) as graded_item_count,
        bool_or(is_final_exam) as has_final_exam,
        min(due_day) filter (where is_graded and not is_final_exam) as first_due_day
    from items
    group by course_version_key
),

learners as (
    select
        course_offering_key,
        count(*) as learner_count,
        count(*) filter (where has_activity) as active_learner_count,
        count(*) filter (where outcome = 'distinction') as distinction_count,
        count(*) filter (where outcome = 'pass') as pass_count,
        count(*) filter (where outcome = 'fail') as fail_count,
        count(*) filter (where outcome = 'withdrawn') as withdrawn_count,
        {{ outcome_figures() }},
        {{ share_of("is_first_item_on_time") }}
            as first_item_on_time_share,
        {{ quantile("click_count", 0.5) }} as median_click_count,
        {{ quantile("active_days", 0.5) }} as median_active_days,
        {{ quantile("weighted_score_share", 0.5) }} as median_weighted_score_share,
        cast(avg({{ exact("submitted_share") }}) as double) as mean_submitted_share,
        cast(avg({{ exact("on_time_share") }}) as double) as mean_on_time_share
    from learner_courses
    group by course_offering_key
)

select
    offerings.source,
    offerings.course_offering_key,
    offerings.course_key,
    offerings.program_key,
    offerings.term_key,
    offerings.starts_on,
    offerings.ends_on,
    offerings.length_days,
    program_offerings.offered_terms_share,

    ---------- design
    cast(coalesce(designs.content_item_count, 0) as integer) as content_item_count,
    {%- for kind in activity_kinds() %}
    cast(coalesce(designs.{{ kind }}_item_count, 0) as integer) as {{ kind }}_item_count,
    {%- endfor %}
    cast(coalesce(designs.graded_item_count, 0) as integer) as graded_item_count,
    coalesce(designs.has_final_exam, false) as has_final_exam,
    designs.first_due_day,
    versions.quiz_weight_share,
    versions.staff_graded_weight_share,
    versions.max_item_weight,

    ---------- learners
    cast(coalesce(learners.learner_count, 0) as integer) as learner_count,
    cast(coalesce(learners.active_learner_count, 0) as integer) as active_learner_count,
    learners.median_click_count,
    learners.median_active_days,
    learners.first_item_on_time_share,
    learners.mean_submitted_share,
    learners.mean_on_time_share,
    learners.median_weighted_score_share,

    ---------- results
    {%- for count in [
        "distinction_count", "pass_count", "fail_count", "withdrawn_count", "final_outcome_count", "running_count",
    ] %}
    cast(case when offerings.term_key is not null then coalesce(learners.{{ count }}, 0) end as integer) as {{ count }},
    {%- endfor %}
    learners.passed_share,
    learners.withdrawn_share,
    {%- for count in ["completed_count", "not_completed_count"] %}
    cast(case when offerings.term_key is null then coalesce(learners.{{ count }}, 0) end as integer) as {{ count }},
    {%- endfor %}
    learners.completed_share
from offerings
left join versions
    on offerings.course_version_key = versions.course_version_key
left join program_offerings
    on
        offerings.course_offering_key = program_offerings.course_offering_key
        and offerings.program_key = program_offerings.program_key
left join designs
    on offerings.course_version_key = designs.course_version_key
left join learners
    on offerings.course_offering_key = learners.course_offering_key
