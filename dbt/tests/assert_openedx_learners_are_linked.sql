-- Finds sources of Open edX that deliver logs and statements, and where more than half of those who act in statements
-- are nobody of the logs. Grain: one row per source.
-- When it fails: statements name people by ids of their own. Without external_id a person counts as two learners, and
-- an event that is delivered both ways counts twice.
-- To resolve: deliver Aspects' table external_id (user_id or username, and external_user_id of the type xapi), or one
-- of both only.
{{ config(severity="warn", meta={"dagster": {"ref": {"name": "stg_openedx__learners"}}}) }}

with actors as (
    select distinct
        source,
        actor_id
    from {{ source("raw_openedx", "statements") }}
    where actor_id is not null
),

logs as (
    select distinct source
    from {{ source("raw_openedx", "tracking_log") }}
),

external_ids as (
    select distinct
        source,
        external_user_id
    from {{ source("raw_openedx", "external_id") }}
),

learners as (
    select source from {{ ref("stg_openedx__learners") }}
    group by source
),

compared as (
    select
        actors.source,
        count(*) as actor_count,
        count(external_ids.external_user_id) as known_count
    from actors
    inner join logs
        on actors.source = logs.source
    inner join learners
        on actors.source = learners.source
    left join external_ids
        on
            actors.source = external_ids.source
            and actors.actor_id = external_ids.external_user_id
    group by actors.source
)

select
    source,
    actor_count,
    known_count
from compared
where known_count < actor_count / 2.0
