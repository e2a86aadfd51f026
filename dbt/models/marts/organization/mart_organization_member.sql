-- Who belongs to an employer on the last day of the data. Grain: one row per source × learner × organization.
with memberships as (
    select * from {{ ref("fct_organization_membership") }}
),

organizations as (
    select * from {{ ref("dim_organization") }}
),

sources as (
    select * from {{ ref("dim_source") }}
)

select
    memberships.source,
    memberships.organization_key,
    memberships.learner_key,
    organizations.industry,
    organizations.country,
    organizations.size_band,
    memberships.from_on,
    sources.last_data_on as as_of,
    -- Of several employers at a time the latest one speaks for the learner, so that nobody is counted twice.
    row_number() over (
        partition by memberships.learner_key
        order by memberships.from_on desc, memberships.organization_key asc
    ) = 1 as is_main
from memberships
inner join organizations
    on memberships.organization_key = organizations.organization_key
inner join sources
    on memberships.source = sources.source
where
    memberships.from_on <= sources.last_data_on
    and (memberships.to_on is null or memberships.to_on >= sources.last_data_on)
