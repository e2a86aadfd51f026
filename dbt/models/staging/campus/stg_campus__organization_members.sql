-- Learners and the employers that sponsor them. Grain: one row per source × learner × organization.
with final as (
    {{ deduplicated("raw_campus", "organization_members") }}
)

{{ canonical_select("final", "organization_members") }}
