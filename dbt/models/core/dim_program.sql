-- Programs of all sources. Grain: one row per source × program.
with programs as (
    {{ union_contracts("programs") }}
),

institutions as (
    {{ union_contracts("institutions") }}
),

zones as (
    select * from {{ ref("int_programs_zoned") }}
)

select
    programs.source,
    {{ entity_key(["program_id"], "programs") }} as program_key,
    programs.program_id,
    programs.program_name,
    programs.university_name,
    programs.program_type,
    programs.level,
    programs.terms_per_year,
    programs.terms_may_be_missed,
    zones.time_zone,
    coalesce(programs.passing_share, institutions.passing_share) as passing_share
from programs
left join institutions
    on programs.source = institutions.source
left join zones
    on
        programs.source = zones.source
        and programs.program_id = zones.program_id
