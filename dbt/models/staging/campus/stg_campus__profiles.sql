-- Profiles, told only as far as present or not. Grain: one row per source × learner.
with final as (
    {{ deduplicated("raw_campus", "profiles") }}
)

{{ canonical_select("final", "profiles") }}
