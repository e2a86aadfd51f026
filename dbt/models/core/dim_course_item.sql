-- Items of the courses: content, discussions, assessments. Grain: one row per source × course × version × item.
with items as (
    select * from {{ ref("int_course_items_offered") }}
    where missing_reference is null
)

-- A version that several terms teach has a row for each of them in the intermediate table.
select distinct
    source,
    {{ entity_key(["course_id", "version_id", "item_id"]) }} as course_item_key,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["course_id", "version_id"]) }} as course_version_key,
    item_id,
    item_name,
    kind,
    activity_kind,
    source_kind,
    first_week,
    last_week,
    position,
    is_graded,
    is_logged,
    is_final_exam,
    assignment_group,
    best_count,
    weight_share,
    planned_minutes,
    due_day,
    late_penalty_share
from items
