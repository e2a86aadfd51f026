-- Credentials of learners. Grain: one row per source × credential.
with final as (
    {{ deduplicated("raw_campus", "credentials") }}
)

{{ canonical_select("final", "credentials") }}
