-- Learners. Grain: one row per source × learner.
with final as (
    {{ deduplicated("raw_campus", "learners") }}
)

{{ canonical_select("final", "learners", absent=["age_band", "deprivation_band", "has_disability"]) }}
