-- The Open University. Grain: one row per source.
with programs as (
    select * from {{ ref("stg_oulad__programs") }}
),

-- Work of 40 of 100 points passes (result of an assessment, OULAD's description); its days are those of the UK.
final as (
    select
        source,
        program_id as institution_id,
        university_name as institution_name,
        'Europe/London' as time_zone,
        0.40 as passing_share
    from programs
)

{{ canonical_select("final", "institutions") }}
