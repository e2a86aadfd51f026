-- In how many terms degree learners were active, those who were retained beside those who were not (figure 2 of the
-- retention report). Grain: one row per source × retained or not × terms active.
{%- set most_terms = 12 %}
{%- set levels = [{"name": "terms", "keys": ["is_retained", "active_term_count"]}] %}
{%- set measures = [{"name": "learner", "value": "count(*)"}] %}

with terms as (
    select
        learner_key,
        program_key,
        count(distinct term_key) as active_term_count
    from {{ ref("mart_learner_course") }}
    where
        term_key is not null
        and has_activity
    group by learner_key, program_key
),

learners as (
    select
        starts.source,
        starts.learner_key,
        starts.is_retained,
        cast(least(coalesce(terms.active_term_count, 0), {{ most_terms }}) as integer) as active_term_count
    from {{ ref("mart_learner_program") }} as starts
    inner join {{ ref("dim_program") }} as programs
        on starts.program_key = programs.program_key
    left join terms
        on
            starts.learner_key = terms.learner_key
            and starts.program_key = terms.program_key
    where
        programs.program_type = 'degree'
        and starts.is_retained is not null
),

{{ protected_groups("learners", levels, measures, within=["is_retained"]) }},

shown as (
    select
        source,
        is_retained,
        active_term_count,
        {{ shown_measure(measures[0], is_rounded=true) }},
        {{ withheld_because(measures) }}
    from protected
)

select
    source,
    is_retained,
    active_term_count,
    learner_count,
    round(
        learner_count / nullif(cast(sum(learner_count) over (partition by source, is_retained) as double), 0), 2
    ) as learner_share,
    withheld_because
from shown
