-- Grades of courses and whether they pass, as they stand last. Grain: one row per source × learner × course key.
{{ config(materialized="table", contract={"enforced": false}) }}

with told as (
    select
        source,
        learner_id,
        course_key,
        occurred_at,
        case when kind = 'course_graded' then score / nullif(maximum_score, 0) end as grade_share,
        is_passing
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind in ('course_graded', 'course_passed', 'course_failed')

    union all

    select
        certificates.source,
        identities.learner_id,
        certificates.course_id as course_key,
        certificates.created_date as occurred_at,
        certificates.grade as grade_share,
        certificates.status = 'downloadable' as is_passing
    from {{ source("raw_openedx", "certificates_generatedcertificate") }} as certificates
    inner join {{ ref("int_openedx__learner_ids") }} as identities
        on
            certificates.source = identities.source
            and identities.identity_kind = 'user_id'
            and certificates.user_id = identities.identity_value
),

placed as (
    select
        *,
        row_number() over (
            partition by source, learner_id, course_key
            order by case when grade_share is null then 1 else 0 end, occurred_at desc, grade_share desc
        ) as place_of_grade,
        row_number() over (
            partition by source, learner_id, course_key
            order by case when is_passing is null then 1 else 0 end, occurred_at desc, is_passing desc
        ) as place_of_state
    from told
)

select
    source,
    learner_id,
    course_key,
    max(case when place_of_grade = 1 then grade_share end) as grade_share,
    max(case when place_of_grade = 1 and grade_share is not null then occurred_at end) as graded_at,
    bool_or(case when place_of_state = 1 then is_passing end) as is_passing,
    max(case when place_of_state = 1 then occurred_at end) as decided_at,
    min(case when is_passing then occurred_at end) as first_passed_at
from placed
group by source, learner_id, course_key
