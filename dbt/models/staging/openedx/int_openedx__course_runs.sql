-- Runs of courses, with their dates. Grain: one row per source × course key.
{{ config(materialized="table", contract={"enforced": false}) }}

with overviews as (
    select *
    from {{ source("raw_openedx", "course_overviews") }}
    qualify row_number() over (
        partition by source, course_key
        order by time_last_dumped desc, _file desc, _record desc
    ) = 1
),

seen as (
    select
        source,
        course_key,
        max(course_name) as course_name,
        min(first_at) as first_at,
        max(last_at) as last_at
    from {{ ref("int_openedx__course_learners") }}
    group by source, course_key

    union all

    select
        source,
        course_id,
        null as course_name,
        min(created) as first_at,
        max(created) as last_at
    from {{ source("raw_openedx", "student_courseenrollment") }}
    group by source, course_id
),

seen_first as (
    select
        source,
        course_key,
        max(course_name) as course_name,
        min(first_at) as first_at,
        max(last_at) as last_at
    from seen
    group by source, course_key
)

select
    coalesce(overviews.source, seen_first.source) as source,
    coalesce(overviews.course_key, seen_first.course_key) as course_key,
    {{ openedx_course("coalesce(overviews.course_key, seen_first.course_key)") }} as course_id,
    {{ openedx_run("coalesce(overviews.course_key, seen_first.course_key)") }} as term_id,
    coalesce(overviews.display_name, seen_first.course_name) as course_name,
    -- Studio writes 2030 as long as nobody has set a start.
    cast(coalesce(
        case when extract(year from overviews.course_start) < 2030 then overviews.course_start end,
        seen_first.first_at,
        overviews.course_start
    ) as date) as starts_on,
    cast(overviews.course_end as date) as ends_on,
    cast(seen_first.last_at as date) as last_seen_on
from overviews
full outer join seen_first
    on
        overviews.source = seen_first.source
        and overviews.course_key = seen_first.course_key
