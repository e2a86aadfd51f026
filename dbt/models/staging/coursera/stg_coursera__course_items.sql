-- Items of versions of courses; courses without versions have one that bears their name. Grain: one row per source ×
-- course × version × item.
with branches as (
    {{ deduplicated("raw_coursera", "course_branches") }}
),

branch_items as (
    {{ deduplicated("raw_coursera", "course_branch_items") }}
),

branch_lessons as (
    {{ deduplicated("raw_coursera", "course_branch_lessons") }}
),

branch_modules as (
    {{ deduplicated("raw_coursera", "course_branch_modules") }}
),

items as (
    {{ deduplicated("raw_coursera", "course_items") }}
),

lessons as (
    {{ deduplicated("raw_coursera", "course_lessons") }}
),

modules as (
    {{ deduplicated("raw_coursera", "course_modules") }}
),

types as (
    {{ deduplicated("raw_coursera", "course_item_types") }}
),

versioned as (
    select
        branches.source,
        branches.course_id,
        branches.course_branch_id as version_id,
        branch_items.course_item_id as item_id,
        branch_items.course_branch_item_name as item_name,
        branch_items.course_item_type_id,
        branch_modules.course_branch_module_order as module_order,
        branch_lessons.course_branch_lesson_order as lesson_order,
        branch_items.course_branch_item_order as item_order,
        branch_items.is_graded,
        branch_items.item_weight_in_course_branch_percentage / 100 as weight_share,
        coalesce(
            branch_items.course_branch_item_lecture_duration_ms / 60000.0, branch_items.global_item_time_commitment
        ) as planned_minutes
    from branch_items
    inner join branches
        on
            branch_items.source = branches.source
            and branch_items.course_branch_id = branches.course_branch_id
    left join branch_lessons
        on
            branch_items.source = branch_lessons.source
            and branch_items.course_branch_id = branch_lessons.course_branch_id
            and branch_items.course_lesson_id = branch_lessons.course_lesson_id
    left join branch_modules
        on
            branch_lessons.source = branch_modules.source
            and branch_lessons.course_branch_id = branch_modules.course_branch_id
            and branch_lessons.course_module_id = branch_modules.course_module_id
),

unversioned as (
    select
        items.source,
        items.course_id,
        items.course_id as version_id,
        items.course_item_id as item_id,
        items.course_item_name as item_name,
        items.course_item_type_id,
        modules.course_module_order as module_order,
        lessons.course_lesson_order as lesson_order,
        items.course_item_order as item_order,
        cast(null as boolean) as is_graded,
        cast(null as double) as weight_share,
        cast(null as double) as planned_minutes
    from items
    left join lessons
        on
            items.source = lessons.source
            and items.course_id = lessons.course_id
            and items.course_lesson_id = lessons.course_lesson_id
    left join modules
        on
            lessons.source = modules.source
            and lessons.course_id = modules.course_id
            and lessons.course_module_id = modules.course_module_id
    where (items.source, items.course_id) not in (select
        branches.source,
        branches.course_id
    from branches)
),

together as (
    select * from versioned
    union all
    select * from unversioned
),

typed as (
    select
        together.*,
        coalesce(together.is_graded, types.course_item_type_graded, false) as counts,
        lower(replace(coalesce(types.course_item_type_category, types.course_item_type_desc), ' ', '')) as category,
        coalesce(types.course_item_type_desc, types.course_item_type_category) as source_kind
    from together
    left join types
        on
            together.source = types.source
            and together.course_item_type_id = types.course_item_type_id
),

final as (
    select
        source,
        course_id,
        version_id,
        item_id,
        item_name,
        {{ coursera_item_kind("category", "counts") }} as kind,
        source_kind,
        module_order + 1 as first_week,
        module_order + 1 as last_week,
        row_number() over (
            partition by source, course_id, version_id
            order by module_order, lesson_order, item_order, item_id
        ) as position,
        counts as is_graded,
        true as is_logged,
        false as is_final_exam,
        case when counts then weight_share end as weight_share,
        planned_minutes
    from typed
)

{{ canonical_select(
    "final", "course_items", absent=["assignment_group", "best_count", "due_day", "late_penalty_share"]
) }}
