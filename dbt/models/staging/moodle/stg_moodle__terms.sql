-- Terms: those of course_runs, else the months in which courses start. Grain: one row per source × program × term.
with runs as (
    select * from {{ ref("int_moodle__courses") }}
),

-- Where no course of a term has an end, it lasts a year: so long Moodle makes a course unless it is told otherwise.
final as (
    select
        source,
        program_id,
        term_id,
        min(season) as season,
        min(starts_on) as starts_on,
        coalesce(max(ends_on), {{ add_days("max(starts_on)", 364) }}) as ends_on
    from runs
    where program_id is not null
    group by source, program_id, term_id
)

{{ canonical_select("final", "terms", absent=["drop_deadline_on", "is_required"]) }}
