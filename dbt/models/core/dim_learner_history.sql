-- What was told of learners, and from when to when. Grain: one row per learner × state.
with changes as (
    select * from {{ source("analytics", "learner_changes") }}
),

-- Whoever is not in the newest delivery is in neither table.
states as (
    select
        changes.*,
        row_number() over (partition by changes.learner_key order by changes.changed_on) as state_number,
        lead(changes.changed_on) over (partition by changes.learner_key order by changes.changed_on) as next_changed_on
    from changes
    inner join {{ ref("dim_learner") }} as learners
        on changes.learner_key = learners.learner_key
)

select
    source,
    learner_key || ':' || {{ key_part("state_number") }} as learner_history_key,
    learner_key,
    changed_on as valid_from,
    next_changed_on as valid_to,
    next_changed_on is null as is_current,
    birth_year,
    age_band,
    gender,
    country,
    region,
    education_level,
    employment_status,
    deprivation_band,
    has_disability
from states
