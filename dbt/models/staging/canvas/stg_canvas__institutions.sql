-- The institution as it describes itself, else one without a name. Grain: one row per source.
with terms as (
    select * from {{ source("raw_canvas", "enrollment_terms") }}
),

institution as (
    {{ deduplicated("raw_canvas", "institution") }}
),

final as (
    select
        terms.source,
        coalesce(max(institution.institution_id), 'institution') as institution_id,
        max(institution.institution_name) as institution_name,
        max(institution.time_zone) as time_zone,
        max(institution.passing_share) as passing_share
    from terms
    left join institution
        on terms.source = institution.source
    group by terms.source
)

{{ canonical_select("final", "institutions") }}
