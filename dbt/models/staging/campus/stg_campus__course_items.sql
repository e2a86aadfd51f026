-- Items of the courses by version. Grain: one row per source × course × version × item.
with course_items as (
    {{ deduplicated("raw_campus", "course_items") }}
),

final as (
    select
        source,
        course_id,
        version_id,
        item_id,
        item_name,
        kind,
        kind as source_kind,
        week as first_week,
        week as last_week,
        position,
        is_graded,
        true as is_logged,
        false as is_final_exam,
        assignment_group,
        best_count,
        weight as weight_share,
        minutes as planned_minutes,
        due_day,
        late_penalty as late_penalty_share
    from course_items
)

{{ canonical_select("final", "course_items") }}
