-- Courses of the site as runs of courses, with their program and dates. Grain: one row per source × course of Moodle.
{{ config(materialized="table", contract={"enforced": false}) }}

with courses as (
    {{ deduplicated("raw_moodle", "course") }}
),

runs as (
    {{ deduplicated("raw_moodle", "course_runs") }}
),

categories as (
    {{ deduplicated("raw_moodle", "course_categories") }}
),

program_categories as (
    {{ deduplicated("raw_moodle", "program_categories") }}
),

institutions as (
    {{ deduplicated("raw_moodle", "institution") }}
),

zones as (
    select
        source,
        min(time_zone) as time_zone
    from institutions
    where {{ is_time_zone("time_zone") }}
    group by source
),

-- Every course but the front page of the site, with the categories above it, outermost first.
placed as (
    select
        courses.*,
        coalesce(zones.time_zone, 'UTC') as time_zone,
        '/' || coalesce(categories.path || '/' || categories.id, courses.category) || '/' as category_path
    from courses
    left join categories
        on
            courses.source = categories.source
            and courses.category = categories.id
    left join zones
        on courses.source = zones.source
    where courses.category is not null
),

-- The program of the nearest category; categories of one program may lie within each other.
programs as (
    select
        placed.source,
        placed.id,
        program_categories.program_id
    from placed
    inner join program_categories
        on
            placed.source = program_categories.source
            and placed.category_path like '%/' || program_categories.category_id || '/%'
    qualify row_number() over (
        partition by placed.source, placed.id
        order by
            {{ dbt.position("'/' || program_categories.category_id || '/'", "placed.category_path") }} desc,
            program_categories.program_id
    ) = 1
),

mapped_sources as (
    select distinct source
    from program_categories
),

dated as (
    select
        placed.*,
        coalesce(
            {{ local_date("placed.startdate", "placed.time_zone") }},
            {{ local_date("placed.timecreated", "placed.time_zone") }}
        ) as starts_on,
        {{ moodle_last_day("placed.enddate", "placed.time_zone") }} as ends_on
    from placed
)

select
    dated.source,
    dated.id as moodle_course_id,
    coalesce(runs.course_id, dated.id) as course_id,
    coalesce(runs.term_id, {{ year_month("dated.starts_on") }}, 'open') as term_id,
    runs.season,
    dated.fullname as course_name,
    nullif(dated.lang, '') as language,
    case when mapped_sources.source is null then 'university' else programs.program_id end as program_id,
    case
        when mapped_sources.source is null then 'module'
        when programs.program_id is not null then 'degree'
        else 'open'
    end as course_type,
    dated.starts_on,
    case when dated.ends_on >= dated.starts_on then dated.ends_on end as ends_on,
    dated.time_zone
from dated
left join programs
    on
        dated.source = programs.source
        and dated.id = programs.id
left join mapped_sources
    on dated.source = mapped_sources.source
left join runs
    on
        dated.source = runs.source
        and dated.id = runs.course
