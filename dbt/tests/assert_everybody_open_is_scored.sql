-- Finds programs in which somebody with an open outcome has no score. Grain: one row per such source × outcome ×
-- program.
-- When it fails: the last scoring left learners out, so that nobody will call them.
-- To resolve: compare feature_open_enrollments with what is scored, feature_program_weeks and feature_course_weeks.
-- A source that no model scores yet is left out: reporting.at_risk_coverage has it.
{{ config(severity="warn", meta={"dagster": {"ref": {"name": "at_risk_coverage"}}}) }}

-- depends_on: {{ ref("at_risk_coverage") }}
with latest as (
    {{ latest_scores() }}
),

scored as (
    select distinct
        source,
        outcome
    from latest
)

select
    enrollments.source,
    enrollments.outcome,
    enrollments.program_key,
    count(*) as unscored_count
from {{ ref("feature_open_enrollments") }} as enrollments
inner join scored
    on
        enrollments.source = scored.source
        and enrollments.outcome = scored.outcome
left join latest
    on
        enrollments.outcome = latest.outcome
        and enrollments.enrollment_key = latest.enrollment_key
where latest.enrollment_key is null
group by enrollments.source, enrollments.outcome, enrollments.program_key
