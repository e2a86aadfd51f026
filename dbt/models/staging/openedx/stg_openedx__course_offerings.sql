-- Runs of courses. Grain: one row per source × course × run.
with final as (
    select
        source,
        course_id,
        term_id,
        term_id as version_id,
        starts_on,
        ends_on
    from {{ ref("int_openedx__course_runs") }}
)

{{ canonical_select("final", "course_offerings") }}
