-- Who did anything in which course, and when first and last. Grain: one row per source × learner × course key.
{{ config(materialized="table", contract={"enforced": false}) }}

select
    source,
    learner_id,
    course_key,
    max(course_name) as course_name,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at,
    count(*) as row_count
from {{ ref("int_openedx__learning_events") }}
where drop_reason is null
group by source, learner_id, course_key
