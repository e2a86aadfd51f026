-- Terms with their dates. Grain: one row per source × term.
with enrollment_terms as (
    select * from (
        {{ deduplicated("raw_canvas", "enrollment_terms") }}
    ) as latest
    where action <> 'D'
),

programs as (
    select * from {{ ref("stg_canvas__programs") }}
),

final as (
    select
        enrollment_terms.source,
        programs.program_id,
        enrollment_terms.id as term_id,
        enrollment_terms.name as season,
        cast(enrollment_terms.start_at as date) as starts_on,
        cast(enrollment_terms.end_at as date) as ends_on
    from enrollment_terms
    inner join programs
        on enrollment_terms.source = programs.source
    where
        enrollment_terms.start_at is not null
        and enrollment_terms.end_at is not null
)

{{ canonical_select("final", "terms", absent=["drop_deadline_on", "is_required"]) }}
