-- Open courses by the degree programs with which they share items. Grain: one row per source × open course × program.
with items as (
    select * from {{ ref("dim_course_item") }}
),

shared_items as (
    select * from {{ ref("dim_shared_item") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

sizes as (
    select
        course_key,
        count(distinct item_id) as item_count
    from items
    group by course_key
),

shared as (
    select
        shared_items.source,
        shared_items.open_course_key,
        courses.program_key,
        count(distinct shared_items.open_item_id) as shared_item_count
    from shared_items
    inner join courses
        on shared_items.course_key = courses.course_key
    group by shared_items.source, shared_items.open_course_key, courses.program_key
)

select
    shared.source,
    shared.open_course_key,
    shared.program_key,
    shared.shared_item_count,
    sizes.item_count,
    shared.shared_item_count / cast(sizes.item_count as double) as shared_item_share,
    shared.shared_item_count / cast(sizes.item_count as double) >= {{ var("stackable_item_share") }} as is_stackable
from shared
inner join sizes
    on shared.open_course_key = sizes.course_key
