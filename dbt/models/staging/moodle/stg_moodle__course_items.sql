-- Activities of the runs of courses. Grain: one row per source × course × version × item.
with items as (
    select * from {{ ref("int_moodle__items") }}
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

-- Where neither a log nor completion is delivered, only posts name the activity at which something was done.
sources_with_events as (
    select source
    from {{ source("raw_moodle", "logstore_standard_log") }}

    union distinct

    select source
    from {{ source("raw_moodle", "course_modules_completion") }}
),

final as (
    select
        items.source,
        courses.course_id,
        courses.moodle_course_id as version_id,
        {{ moodle_item("items.module", "items.instance") }} as item_id,
        items.item_name,
        case
            when items.module = 'assign' then 'staff_graded'
            when items.module = 'workshop' then 'peer_graded'
            when items.module = 'vpl' then 'programming'
            when items.module = 'quiz' or (items.module = 'lesson' and items.is_graded) then 'quiz'
            when items.module in ('lesson', 'h5pactivity', 'hvp', 'scorm') then 'practice'
            when items.module in ('page', 'book', 'resource', 'url', 'imscp', 'glossary') then 'reading'
            when items.module in ('forum', 'hsuforum') then 'discussion'
            when items.module in ('wiki', 'data') then 'team'
            when items.module in ('label', 'folder', 'subsection') then 'navigation'
            when items.module = 'lti' then 'plugin'
            else 'other'
        end as kind,
        items.module as source_kind,
        items.is_graded,
        items.module = 'forum' or sources_with_events.source is not null as is_logged,
        false as is_final_exam,
        {{ days_between("courses.starts_on", moodle_last_day("items.due_at", "courses.time_zone")) }} as due_day
    from items
    inner join courses
        on
            items.source = courses.source
            and items.moodle_course_id = courses.moodle_course_id
    left join sources_with_events
        on items.source = sources_with_events.source
)

{{ canonical_select("final", "course_items", absent=[
    "first_week", "last_week", "position", "assignment_group", "best_count", "weight_share", "planned_minutes",
    "late_penalty_share",
]) }}
