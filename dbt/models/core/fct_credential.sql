-- Credentials of learners. Grain: one row per source × credential.
with credentials as (
    {{ union_contracts("credentials") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
)

select
    credentials.source,
    {{ entity_key(["credential_id"], "credentials") }} as credential_key,
    {{ entity_key(["learner_id"], "credentials") }} as learner_key,
    {{ entity_key(["course_id"], "credentials") }} as course_key,
    {{ entity_key(["program_id"], "credentials") }} as program_key,
    credentials.kind,
    credentials.issued_on
from credentials
inner join learners
    on
        credentials.source = learners.source
        and credentials.learner_id = learners.learner_id
