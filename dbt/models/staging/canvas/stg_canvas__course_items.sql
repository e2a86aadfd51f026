-- Assignments. Grain: one row per source × course × assignment.
with assignments as (
    select * from (
        {{ deduplicated("raw_canvas", "assignments") }}
    ) as latest
    where action <> 'D'
),

offerings as (
    select * from {{ ref("stg_canvas__course_offerings") }}
),

final as (
    select
        assignments.source,
        assignments.context_id as course_id,
        offerings.version_id,
        assignments.id as item_id,
        assignments.title as item_name,
        case
            when assignments.peer_reviews then 'peer_graded'
            when assignments.submission_types like '%online_quiz%' then 'quiz'
            when assignments.submission_types like '%discussion_topic%' then 'discussion'
            when assignments.submission_types like '%external_tool%' then 'plugin'
            else 'staff_graded'
        end as kind,
        assignments.submission_types as source_kind,
        assignments.position,
        coalesce(assignments.points_possible > 0, false) as is_graded,
        -- Requests tell of pages, not of assignments.
        false as is_logged,
        false as is_final_exam,
        case
            when assignments.points_possible > 0
                then
                    assignments.points_possible
                    / sum(assignments.points_possible) over (partition by assignments.source, assignments.context_id)
        end as weight_share,
        {{ days_between("offerings.starts_on", "cast(assignments.due_at as date)") }} as due_day
    from assignments
    inner join offerings
        on
            assignments.source = offerings.source
            and assignments.context_id = offerings.course_id
    where assignments.workflow_state = 'published'
)

{{ canonical_select("final", "course_items", absent=[
    "first_week", "last_week", "assignment_group", "best_count", "planned_minutes", "late_penalty_share",
]) }}
