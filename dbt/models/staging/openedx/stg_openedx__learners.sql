-- Learners, with what their profiles tell. Grain: one row per source × learner.
with identities as (
    select * from {{ ref("int_openedx__learner_ids") }}
),

learners as (
    select
        source,
        learner_id
    from identities
    union
    select
        source,
        learner_id
    from {{ ref("int_openedx__course_learners") }}
),

described as (
    select
        source,
        user_id,
        year_of_birth,
        gender,
        level_of_education,
        country,
        time_last_dumped
    from {{ source("raw_openedx", "user_profile") }}

    union all

    select
        source,
        user_id,
        year_of_birth,
        gender,
        level_of_education,
        country,
        null as time_last_dumped
    from {{ source("raw_openedx", "auth_userprofile") }}
),

profiles as (
    select
        described.*,
        identities.learner_id
    from described
    inner join identities
        on
            described.source = identities.source
            and identities.identity_kind = 'user_id'
            and described.user_id = identities.identity_value
    qualify row_number() over (
        partition by identities.source, identities.learner_id
        order by described.time_last_dumped desc nulls last, described.user_id asc
    ) = 1
),

accounts as (
    select
        accounts.source,
        identities.learner_id,
        min(accounts.date_joined) as registered_at
    from {{ source("raw_openedx", "auth_user") }} as accounts
    inner join identities
        on
            accounts.source = identities.source
            and identities.identity_kind = 'user_id'
            and accounts.id = identities.identity_value
    group by accounts.source, identities.learner_id
),

final as (
    select
        learners.source,
        learners.learner_id,
        accounts.registered_at,
        profiles.year_of_birth as birth_year,
        case profiles.gender when 'm' then 'male' when 'f' then 'female' when 'o' then 'other' end as gender,
        profiles.country,
        case profiles.level_of_education
            when 'p' then 'doctorate'
            when 'm' then 'master'
            when 'b' then 'bachelor'
            when 'a' then 'some_college'
            when 'hs' then 'secondary'
            when 'jhs' then 'below_secondary'
            when 'el' then 'below_secondary'
            when 'none' then 'below_secondary'
        end as education_level
    from learners
    left join profiles
        on
            learners.source = profiles.source
            and learners.learner_id = profiles.learner_id
    left join accounts
        on
            learners.source = accounts.source
            and learners.learner_id = accounts.learner_id
)

{{ canonical_select(
    "final", "learners", absent=["age_band", "region", "employment_status", "deprivation_band", "has_disability"]
) }}
