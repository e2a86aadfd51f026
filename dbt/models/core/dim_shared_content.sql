-- What versions of open courses share with degree courses as taught at the time. Grain: one row per source × version of
-- an open course × offering of a degree course with which it shares items at some time.
with items as (
    select * from {{ ref("dim_course_item") }}
    where kind <> 'navigation'
),

courses as (
    select * from {{ ref("dim_course") }}
),

shared_items as (
    select shared.*
    from {{ ref("dim_shared_item") }} as shared
    inner join courses as open_courses
        on
            shared.open_course_key = open_courses.course_key
            and open_courses.course_type = 'open'
    inner join courses as degree_courses
        on
            shared.course_key = degree_courses.course_key
            and degree_courses.course_type = 'degree'
),

sizes as (
    select
        course_key,
        course_version_key,
        count(*) as item_count
    from items
    group by
        course_key,
        course_version_key
),

pairs as (
    select distinct
        shared_items.source,
        shared_items.open_course_key,
        sizes.course_version_key as open_course_version_key,
        sizes.item_count,
        shared_items.course_key
    from shared_items
    inner join sizes
        on shared_items.open_course_key = sizes.course_key
),

shared as (
    select
        open_items.course_version_key as open_course_version_key,
        degree_items.course_version_key,
        count(distinct open_items.item_id) as shared_item_count
    from shared_items
    inner join items as open_items
        on
            shared_items.open_course_key = open_items.course_key
            and shared_items.open_item_id = open_items.item_id
    inner join items as degree_items
        on
            shared_items.course_key = degree_items.course_key
            and shared_items.item_id = degree_items.item_id
    group by
        open_items.course_version_key,
        degree_items.course_version_key
),

-- An offering stands for the degree course until the next one starts, the first one before it too.
offerings as (
    select
        course_key,
        course_offering_key,
        course_version_key,
        lag(starts_on) over (partition by course_key order by starts_on, course_offering_key) as earlier_starts_on,
        starts_on,
        lead(starts_on) over (partition by course_key order by starts_on, course_offering_key) as later_starts_on
    from {{ ref("dim_course_offering") }}
)

select
    pairs.source,
    pairs.open_course_key,
    pairs.open_course_version_key,
    pairs.course_key,
    offerings.course_offering_key,
    case when offerings.earlier_starts_on is not null then offerings.starts_on end as taught_from_on,
    {{ add_days("offerings.later_starts_on", -1) }} as taught_to_on,
    cast(coalesce(shared.shared_item_count, 0) as integer) as shared_item_count,
    cast(pairs.item_count as integer) as item_count,
    coalesce(shared.shared_item_count, 0) / cast(pairs.item_count as double) as shared_item_share,
    coalesce(shared.shared_item_count, 0) / cast(pairs.item_count as double) >= {{ var("stackable_item_share") }}
        as is_stackable
from pairs
inner join offerings
    on pairs.course_key = offerings.course_key
left join shared
    on
        pairs.open_course_version_key = shared.open_course_version_key
        and offerings.course_version_key = shared.course_version_key
