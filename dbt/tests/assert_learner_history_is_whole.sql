-- Finds states of learners that overlap or leave a gap, and learners who have not exactly one current state, the one of
-- dim_learner. Grain: one row per state, or per learner without one. Sources without any history are passed over: the
-- table is filled by Python after dim_learner.
-- When it fails: what held of these learners on a day is unknown or twofold.
-- To resolve: materialize analytics.learner_changes and core.dim_learner_history after core.dim_learner.
{{ config(meta={"dagster": {"ref": {"name": "dim_learner_history"}}}) }}
{%- set attributes = [
    "birth_year", "age_band", "gender", "country", "region", "education_level", "employment_status",
    "deprivation_band", "has_disability",
] %}

with history as (
    select * from {{ ref("dim_learner_history") }}
),

neighbours as (
    select
        learner_key,
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over (partition by learner_key order by valid_from, learner_history_key) as next_valid_from
    from history
)

select
    learner_key,
    valid_from,
    'overlap or gap' as problem
from neighbours
where
    valid_to is distinct from next_valid_from
    or valid_to <= valid_from
    or is_current <> (valid_to is null)

union all

select
    learners.learner_key,
    history.valid_from,
    'not what dim_learner has' as problem
from {{ ref("dim_learner") }} as learners
left join history
    on
        learners.learner_key = history.learner_key
        and history.is_current
where
    learners.source in (select told.source from history as told)
    and (
        history.learner_key is null
        {%- for attribute in attributes %}
        or learners.{{ attribute }} is distinct from history.{{ attribute }}
        {%- endfor %}
    )
