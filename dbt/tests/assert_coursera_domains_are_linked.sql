-- Finds domains of a Coursera export (quizzes, peer review, forums, clickstream) whose learners nobody else names.
-- Grain: one row per source × domain.
-- When it fails: the export has isolated hashes (HASHED_IDS_WITH_ISOLATED_UGC_NO_PII). Nothing of that domain joins
-- its learners: its rows are held back. The clickstream is linked in both modes: where it is not, it was requested with
-- other hashes than the tables.
-- To resolve: ask the data coordinator for linked hashes (HASHED_IDS_NO_PII), or do without that domain.
{{ config(severity="warn", meta={"dagster": {"ref": {"name": "stg_coursera__learners"}}}) }}

with named as (
    select
        source,
        'quizzes' as domain,
        user_id
    from {{ source("raw_coursera", "assessment_actions") }}

    union all

    select
        source,
        'peer review' as domain,
        user_id
    from {{ source("raw_coursera", "peer_submissions") }}

    union all

    select
        source,
        'forums' as domain,
        user_id
    from {{ source("raw_coursera", "discussion_questions") }}

    union all

    select
        source,
        'clickstream' as domain,
        user_id
    from {{ source("raw_coursera", "clickstream") }}
),

learners as (
    select * from {{ ref("stg_coursera__learners") }}
)

select
    named.source,
    named.domain,
    count(*) as row_count
from named
left join learners
    on
        named.source = learners.source
        and named.user_id = learners.learner_id
where named.user_id is not null
group by named.source, named.domain
having count(learners.learner_id) = 0
