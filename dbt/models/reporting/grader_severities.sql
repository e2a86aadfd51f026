-- How severe kinds of graders are, in words. Grain: one row per source × kind of grader × half-year, and per source ×
-- kind over all of them.
with severities as (
    select * from {{ source("analytics", "grader_severities") }}
    where
        grader_key is null
        and graded_by <> compared_with
),

agreement as (
    select * from {{ source("analytics", "grader_agreement") }}
)

select
    severities.source,
    severities.graded_by,
    severities.compared_with,
    severities.half_year_on,
    severities.is_shown,
    severities.withheld_reason,
    severities.severity_points,
    severities.severity_points_low,
    severities.severity_points_high,
    severities.drift_points,
    severities.std_error_drift,
    case when severities.half_year_on is null then agreement.weighted_kappa end as weighted_kappa,
    case
        when severities.severity_points_low > 0 then 'more severe'
        when severities.severity_points_high < 0 then 'milder'
        when severities.is_shown then 'no difference shown'
    end as finding
from severities
left join agreement
    on
        severities.source = agreement.source
        and least(severities.graded_by, severities.compared_with) = agreement.graded_by
        and greatest(severities.graded_by, severities.compared_with) = agreement.other_graded_by
