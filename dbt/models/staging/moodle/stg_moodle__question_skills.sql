-- Skills that questions test, as the institution told. Grain: one row per source × question × skill.
with final as (
    {{ deduplicated("raw_moodle", "question_skills") }}
)

{{ canonical_select("final", "question_skills") }}
