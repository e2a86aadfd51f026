-- Skills, and the competencies and domains they belong to. Grain: one row per source × skill.
with skills as (
    {{ union_contracts("skills") }}
)

select
    source,
    {{ entity_key(["skill_id"]) }} as skill_key,
    skill_id,
    skill_name,
    competency,
    domain
from skills
