-- Learners of all sources. Grain: one row per source × learner.
with learners as (
    {{ union_contracts("learners") }}
)

select
    source,
    {{ entity_key(["learner_id"]) }} as learner_key,
    learner_id,
    registered_at,
    birth_year,
    age_band,
    gender,
    country,
    region,
    education_level,
    employment_status,
    deprivation_band,
    has_disability
from learners
