-- People who are or were enrolled as learners in some course. Grain: one row per source × person.
with users as (
    {{ deduplicated("raw_moodle", "user") }}
),

learners as (
    select distinct
        source,
        learner_id
    from {{ ref("int_moodle__registrations") }}
    where is_learner
),

final as (
    select
        users.source,
        users.id as learner_id,
        coalesce(users.timecreated, users.firstaccess) as registered_at,
        upper(users.country) as country
    from users
    inner join learners
        on
            users.source = learners.source
            and users.id = learners.learner_id
)

{{ canonical_select("final", "learners", absent=[
    "birth_year", "age_band", "gender", "region", "education_level", "employment_status", "deprivation_band",
    "has_disability",
]) }}
