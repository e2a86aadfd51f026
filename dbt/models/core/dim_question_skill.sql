-- Which skills a question tests. Grain: one row per source × question × skill.
with question_skills as (
    {{ union_contracts("question_skills") }}
)

select
    source,
    {{ entity_key(["skill_id"]) }} as skill_key,
    question_id
from question_skills
