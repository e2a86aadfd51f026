-- Runs by their names, of all courses that have one of that name. Grain: one row per source × name of a run.
with runs as (
    select * from {{ ref("int_openedx__course_runs") }}
),

final as (
    select
        source,
        'open_edx' as program_id,
        term_id,
        min(starts_on) as starts_on,
        max(greatest(coalesce(ends_on, last_seen_on, starts_on), starts_on)) as ends_on
    from runs
    group by source, term_id
)

{{ canonical_select("final", "terms", absent=["season", "drop_deadline_on", "is_required"]) }}
