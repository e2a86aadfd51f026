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

-- The last contact about what is scored, or about nothing in particular.
contacts as (
    select
        latest.source,
        latest.outcome,
        latest.enrollment_key,
        max(interventions.contacted_on) as last_contacted_on
    from latest
    inner join {{ ref("fct_intervention") }} as interventions
        on latest.learner_key = interventions.learner_key
    where
        coalesce(interventions.course_key = latest.course_key, true)
        and coalesce(interventions.program_key = latest.program_key, true)
    group by latest.source, latest.outcome, latest.enrollment_key
),

programs as (
    select * from {{ ref("dim_program") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

-- The random share that is not contacted is not on the list; the scores keep it.
listed as (
    select
        latest.*,
        contacts.last_contacted_on,
        -- Against the day that the score knows, and not today: the data may be of last week.
        coalesce(
            {{ days_between("contacts.last_contacted_on", "latest.as_of_on") }} <= {{ var("recent_contact_days") }},
            false
        ) as is_contacted_recently
    from latest
    left join contacts
        on
            latest.source = contacts.source
            and latest.outcome = contacts.outcome
            and latest.enrollment_key = contacts.enrollment_key
    where not latest.is_held_out
)

select
    listed.source,
    listed.outcome,
    cast(
        row_number() over (
            partition by listed.source, listed.outcome
            order by listed.is_contacted_recently asc, listed.probability desc, listed.enrollment_key asc
        ) as integer
    ) as call_order,
    listed.enrollment_key,
    listed.learner_key,
    listed.program_key,
    listed.course_key,
    programs.program_name,
    courses.course_name,
    listed.week_number,
    listed.as_of_on,
    listed.probability,
    listed.probability_low,
    listed.probability_high,
    listed.band,
    listed.probability_change,
    listed.last_contacted_on,
    listed.is_contacted_recently,
    {%- for place in [1, 2, 3] %}
    told.reason_{{ place }},
    told.measure_{{ place }},
    told.learner_value_{{ place }},
    told.peers_median_{{ place }},
    {%- endfor %}
    told.suggested_action,
    listed.model_version,
    listed.scored_at
from listed
left join told
    on
        listed.source = told.source
        and listed.outcome = told.outcome
        and listed.enrollment_key = told.enrollment_key
left join programs
    on listed.program_key = programs.program_key
left join courses
    on listed.course_key = courses.course_key
