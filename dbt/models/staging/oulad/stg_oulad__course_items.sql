-- Sites of the learning environment and assessments. Grain: one row per source × module × presentation × item.
with sites as (
    {{ deduplicated("raw_oulad", "vle") }}
),

assessments as (
    {{ deduplicated("raw_oulad", "assessments") }}
),

site_items as (
    select
        source,
        code_module as course_id,
        code_presentation as version_id,
        id_site as item_id,
        case
            when activity_type in ('oucontent', 'resource', 'url', 'page', 'htmlactivity', 'glossary') then 'reading'
            when activity_type in ('quiz', 'externalquiz') then 'quiz'
            when activity_type = 'forumng' then 'discussion'
            when activity_type = 'ouwiki' then 'team'
            when activity_type in ('homepage', 'subpage', 'sharedsubpage', 'dualpane', 'folder') then 'navigation'
            else 'other'
        end as kind,
        activity_type as source_kind,
        week_from as first_week,
        week_to as last_week,
        false as is_graded,
        true as is_logged,
        false as is_final_exam,
        null as weight_share,
        null as due_day
    from sites
),

assessment_items as (
    select
        source,
        code_module as course_id,
        code_presentation as version_id,
        {{ oulad_assessment_item("id_assessment") }} as item_id,
        case
            when assessment_type = 'CMA' then 'quiz'
            when assessment_type in ('TMA', 'Exam') then 'staff_graded'
            else 'other'
        end as kind,
        assessment_type as source_kind,
        null as first_week,
        null as last_week,
        true as is_graded,
        false as is_logged,
        assessment_type = 'Exam' as is_final_exam,
        weight / 100 as weight_share,
        date as due_day
    from assessments
),

final as (
    select * from site_items
    union all
    select * from assessment_items
)

{{ canonical_select(
    "final",
    "course_items",
    absent=["item_name", "position", "assignment_group", "best_count", "planned_minutes", "late_penalty_share"]
) }}
