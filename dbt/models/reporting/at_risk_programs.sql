-- How many learners of a program are at risk, by the last scoring. Grain: one row per source × outcome × program.
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

programs as (
    select * from {{ ref("dim_program") }}
),

by_program as (
    select
        scores.source,
        scores.outcome,
        scores.program_key,
        max(scores.as_of_on) as as_of_on,
        max(scores.scored_on) as scored_on,
        count(*) as learner_count,
        count(*) filter (where scores.band = 'high') as high_count,
        count(*) filter (where scores.band = 'medium') as medium_count,
        avg({{ exact("scores.probability") }}) as mean_probability,
        count(scores.probability_change) as changed_count,
        avg({{ exact("scores.probability_change") }}) as mean_probability_change
    from scores
    inner join last_scorings
        on
            scores.source = last_scorings.source
            and scores.outcome = last_scorings.outcome
            and scores.scored_at = last_scorings.scored_at
    group by scores.source, scores.outcome, scores.program_key
),

-- How many are scored and at risk in all is told elsewhere: what is withheld must not be the rest.
protected as (
    select
        *,
        {{ is_withheld("learner_count", ["source", "outcome"], "program_key") }} as is_withheld,
        {{ is_withheld("changed_count", ["source", "outcome"], "program_key") }} as is_change_withheld
    from by_program
)

select
    protected.source,
    protected.outcome,
    programs.program_name,
    protected.as_of_on,
    protected.scored_on,
    {{ shown("protected", [
        "learner_count", "high_count", "medium_count", "mean_probability",
    ], "learner_count", "is_withheld") }},
    {{ shown("protected", ["mean_probability_change"], "changed_count", "is_change_withheld") }}
from protected
inner join programs
    on protected.program_key = programs.program_key
