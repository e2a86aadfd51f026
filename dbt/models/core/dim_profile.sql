-- Profiles of learners, told only as far as present or not. Grain: one row per source × learner.
with profiles as (
    {{ union_contracts("profiles") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
)

select
    profiles.source,
    {{ entity_key(["learner_id"], "profiles") }} as learner_key,
    profiles.updated_on,
    profiles.target_role,
    profiles.work_experience_count,
    profiles.has_links,
    profiles.has_resume,
    profiles.portfolio_project_count
from profiles
inner join learners
    on
        profiles.source = learners.source
        and profiles.learner_id = learners.learner_id
