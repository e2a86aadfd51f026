-- The time zone in which a source says that its days are counted, else UTC. Grain: one row per source.
{{ config(materialized="view") }}

with sources as (
    {%- for contract in var("contracts") %}
    select distinct
        source,
        '{{ contract }}' as contract
    from {{ ref("stg_" ~ contract ~ "__course_offerings") }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

institutions as (
    {{ union_contracts("institutions") }}
),

-- A name that the engine does not know would stop every model that counts days: assert_time_zones_are_known tells it.
zones as (
    select
        source,
        min(time_zone) as time_zone
    from institutions
    where {{ is_time_zone("time_zone") }}
    group by source
)

select
    sources.source,
    sources.contract,
    coalesce(zones.time_zone, 'UTC') as time_zone
from sources
left join zones
    on sources.source = zones.source
