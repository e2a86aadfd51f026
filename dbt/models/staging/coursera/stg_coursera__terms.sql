-- Sessions as terms of the partner. Grain: one row per source × session.
with offerings as (
    select * from {{ ref("stg_coursera__course_offerings") }}
),

final as (
    select
        source,
        'partner' as program_id,
        term_id,
        min(starts_on) as starts_on,
        max(ends_on) as ends_on
    from offerings
    where
        term_id <> 'open'
        and ends_on is not null
    group by source, term_id
)

{{ canonical_select("final", "terms", absent=["season", "drop_deadline_on", "is_required"]) }}
