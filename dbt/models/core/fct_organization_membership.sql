-- Learners and the employers that sponsor them. Grain: one row per source × learner × organization.
with organization_members as (
    {{ union_contracts("organization_members") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
)

select
    organization_members.source,
    {{ entity_key(["learner_id", "organization_id"], "organization_members") }} as organization_membership_key,
    {{ entity_key(["learner_id"], "organization_members") }} as learner_key,
    {{ entity_key(["organization_id"], "organization_members") }} as organization_key,
    organization_members.from_on,
    organization_members.to_on
from organization_members
inner join learners
    on
        organization_members.source = learners.source
        and organization_members.learner_id = learners.learner_id
