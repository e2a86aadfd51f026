-- Runs of courses. Grain: one row per source × course × run.
with runs as (
    select * from {{ ref("int_openedx__course_runs") }}
),

data_ends as (
    select
        source,
        max(last_seen_on) as last_seen_on
    from runs
    group by source
),

final as (
    select
        runs.source,
        runs.course_id,
        runs.term_id,
        runs.term_id as version_id,
        runs.starts_on,
        -- Names of runs such as session01 come again for years: the term's end is not that of an old run.
        coalesce(
            runs.ends_on,
            case
                when {{ days_between("runs.last_seen_on", "data_ends.last_seen_on") }} > 56
                    then greatest(runs.last_seen_on, runs.starts_on)
            end
        ) as ends_on
    from runs
    left join data_ends
        on runs.source = data_ends.source
)

{{ canonical_select("final", "course_offerings") }}
