-- Which skills a question tests. Grain: one row per source × question × skill.
with final as (
    {{ deduplicated("raw_campus", "question_skills") }}
)

{{ canonical_select("final", "question_skills") }}
