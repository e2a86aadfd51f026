-- How many rows of statements and logs there are of each kind, and how many are left out. Grain: one row per source ×
-- origin × kind × reason to leave them out.
{{ config(materialized="table", contract={"enforced": false}) }}

select
    source,
    origin,
    kind,
    drop_reason,
    count(*) as row_count,
    count(distinct coalesce(event_id, record_id)) as event_count,
    count(distinct learner_id) as learner_count
from {{ ref("int_openedx__learning_events") }}
group by source, origin, kind, drop_reason
