-- Finds programs in which somebody with an open outcome has no score. Grain: one row per such source × outcome ×
-- program.
-- When it fails: the last scoring left learners out, so that nobody will call them.
-- To resolve: compare feature_open_enrollments with what is scored, feature_program_weeks and feature_course_weeks.
-- A source that no model scores yet is left out: reporting.at_risk_coverage has it.
{{ config(severity="warn", meta={"dagster": {"ref": {"name": "at_risk_coverage"}}}) }}

-- depends_on: {{ ref("at_risk_coverage") }}
with scores as (
    select * from {{ source("analytics", "at_risk_scores") }}
),

last_scorings as (
    select
        source,
        outcome,
        max(scored_at) as scored_at
    from scores
    group by source, outcome
)

select
    enrollments.source,
    enrollments.outcome,
    enrollments.program_key,
    count(*) as unscored_count
from {{ ref("feature_open_enrollments") }} as enrollments
inner join last_scorings
    on
        enrollments.source = last_scorings.source
        and enrollments.outcome = last_scorings.outcome
left join scores
    on
        enrollments.outcome = scores.outcome
        and enrollments.enrollment_key = scores.enrollment_key
        and last_scorings.scored_at = scores.scored_at
where scores.enrollment_key is null
group by enrollments.source, enrollments.outcome, enrollments.program_key
