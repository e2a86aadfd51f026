-- The time zone in which the days of a program are counted. Grain: one row per source × program.
{{ config(materialized="view") }}

with programs as (
    {{ union_contracts("programs") }}
),

sources as (
    select * from {{ ref("int_sources_zoned") }}
)

select
    programs.source,
    programs.program_id,
    {{ entity_key(["program_id"], "programs") }} as program_key,
    -- Of a name that the engine does not know, see int_sources_zoned.
    case when {{ is_time_zone("programs.time_zone") }} then programs.time_zone else sources.time_zone end as time_zone
from programs
inner join sources
    on programs.source = sources.source
