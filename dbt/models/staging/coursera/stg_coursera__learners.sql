-- Learners: users in the scope of the export, and whoever learns in its courses. Grain: one row per source × learner.
with users as (
    {{ deduplicated("raw_coursera", "users") }}
),

memberships as (
    select distinct
        source,
        user_id
    from {{ source("raw_coursera", "course_memberships") }}
    where course_membership_role = 'LEARNER'
),

final as (
    select
        coalesce(users.source, memberships.source) as source,
        coalesce(users.user_id, memberships.user_id) as learner_id,
        users.user_join_ts as registered_at,
        case
            when users.reported_or_inferred_gender in ('male', 'female') then users.reported_or_inferred_gender
        end as gender,
        users.country_cd as country,
        users.educational_attainment as education_level,
        users.employment_status
    from users
    full outer join memberships
        on
            users.source = memberships.source
            and users.user_id = memberships.user_id
)

{{ canonical_select(
    "final", "learners", absent=["birth_year", "age_band", "region", "deprivation_band", "has_disability"]
) }}
