-- Certificates of courses. Grain: one row per source × learner × course × run.
with told as (
    select
        source,
        learner_id,
        course_key,
        occurred_at,
        kind = 'certificate_created' as is_valid
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind in ('certificate_created', 'certificate_revoked')

    union all

    select
        certificates.source,
        identities.learner_id,
        certificates.course_id as course_key,
        certificates.created_date as occurred_at,
        certificates.status = 'downloadable' as is_valid
    from {{ source("raw_openedx", "certificates_generatedcertificate") }} as certificates
    inner join {{ ref("int_openedx__learner_ids") }} as identities
        on
            certificates.source = identities.source
            and identities.identity_kind = 'user_id'
            and certificates.user_id = identities.identity_value
),

last_told as (
    select
        *,
        min(case when is_valid then occurred_at end) over (partition by source, learner_id, course_key) as issued_at
    from told
    qualify row_number() over (
        partition by source, learner_id, course_key
        order by occurred_at desc nulls last, is_valid desc
    ) = 1
),

final as (
    select
        source,
        learner_id || ':' || course_key as credential_id,
        learner_id,
        'course_certificate' as kind,
        {{ openedx_course("course_key") }} as course_id,
        'open_edx' as program_id,
        cast(issued_at as date) as issued_on
    from last_told
    where is_valid
)

{{ canonical_select("final", "credentials") }}
