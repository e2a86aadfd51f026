-- Presentation periods of the university. Grain: one row per source × presentation code.
with offerings as (
    select * from {{ ref("stg_oulad__course_offerings") }}
),

final as (
    select
        source,
        'open_university' as program_id,
        term_id,
        case substr(term_id, 5) when 'B' then 'February' when 'J' then 'October' end as season,
        min(starts_on) as starts_on,
        max(ends_on) as ends_on
    from offerings
    group by source, term_id
)

{{ canonical_select("final", "terms", absent=["drop_deadline_on", "is_required"]) }}
