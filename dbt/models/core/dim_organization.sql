-- Employers that sponsor learning. Grain: one row per source × organization.
with organizations as (
    {{ union_contracts("organizations") }}
)

select
    source,
    {{ entity_key(["organization_id"]) }} as organization_key,
    organization_id,
    organization_name,
    industry,
    country,
    size_band
from organizations
