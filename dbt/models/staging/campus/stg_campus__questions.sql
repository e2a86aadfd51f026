-- Questions by version of their text. Grain: one row per source × question × version.
with final as (
    {{ deduplicated("raw_campus", "questions") }}
)

{{ canonical_select("final", "questions") }}
