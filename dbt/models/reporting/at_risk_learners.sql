-- Who to call first: the learners of the last scoring by risk. Grain: one row per source × outcome × enrollment.
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
),

latest as (
    select scores.*
    from scores
    inner join last_scorings
        on
            scores.source = last_scorings.source
            and scores.outcome = last_scorings.outcome
            and scores.scored_at = last_scorings.scored_at
),

reasons as (
    select
        at_risk_reasons.*,
        coalesce(actions.title, at_risk_reasons.reason) as title,
        actions.suggested_action
    from {{ source("analytics", "at_risk_reasons") }} as at_risk_reasons
    left join {{ ref("at_risk_actions") }} as actions
        on at_risk_reasons.reason = actions.reason
),

told as (
    select
        source,
        outcome,
        enrollment_key,
        {%- for place in [1, 2, 3] %}
        max(case when place = {{ place }} then title end) as reason_{{ place }},
        max(case when place = {{ place }} then measure end) as measure_{{ place }},
        max(case when place = {{ place }} then learner_value end) as learner_value_{{ place }},
        max(case when place = {{ place }} then peers_median end) as peers_median_{{ place }},
        {%- endfor %}
        max(case when place = 1 then suggested_action end) as suggested_action
    from reasons
    group by source, outcome, enrollment_key
),

programs as (
    select * from {{ ref("dim_program") }}
),

courses as (
    select * from {{ ref("dim_course") }}
)

-- The random share that is not contacted is not on the list; the scores keep it.
select
    latest.source,
    latest.outcome,
    cast(
        row_number() over (
            partition by latest.source, latest.outcome
            order by latest.probability desc, latest.enrollment_key asc
        ) as integer
    ) as call_order,
    latest.enrollment_key,
    latest.learner_key,
    programs.program_name,
    courses.course_name,
    latest.week_number,
    latest.probability,
    latest.probability_low,
    latest.probability_high,
    latest.band,
    latest.probability_change,
    {%- for place in [1, 2, 3] %}
    told.reason_{{ place }},
    told.measure_{{ place }},
    told.learner_value_{{ place }},
    told.peers_median_{{ place }},
    {%- endfor %}
    told.suggested_action,
    latest.model_version,
    latest.scored_at
from latest
left join told
    on
        latest.source = told.source
        and latest.outcome = told.outcome
        and latest.enrollment_key = told.enrollment_key
left join programs
    on latest.program_key = programs.program_key
left join courses
    on latest.course_key = courses.course_key
where not latest.is_held_out
