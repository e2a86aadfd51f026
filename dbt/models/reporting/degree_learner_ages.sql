-- How old degree learners are when they start (figure 1 of the retention report). Grain: one row per source × level of
-- the degree × age band.
{%- set levels = [{"name": "age_band", "keys": ["program_level", "age_band"]}] %}
{%- set measures = [{"name": "learner", "value": "count(*)"}] %}

with learners as (
    select
        starts.source,
        starts.learner_key,
        coalesce(programs.level, 'not known') as program_level,
        coalesce(starts.age_band, {{ age_band("starts.age_years") }}, 'not known') as age_band
    from {{ ref("mart_learner_program") }} as starts
    inner join {{ ref("dim_program") }} as programs
        on starts.program_key = programs.program_key
    where programs.program_type = 'degree'
),

{{ protected_groups("learners", levels, measures, within=["program_level"]) }},

-- Of what is shown, so that no share tells what is not.
shown as (
    select
        source,
        program_level,
        age_band,
        {{ shown_measure(measures[0], is_rounded=true) }},
        {{ withheld_because(measures) }}
    from protected
)

select
    source,
    program_level,
    age_band,
    learner_count,
    round(
        learner_count / nullif(cast(sum(learner_count) over (partition by source, program_level) as double), 0), 2
    ) as learner_share,
    withheld_because
from shown
