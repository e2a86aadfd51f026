-- Blocks of the courses, and what else events name. Grain: one row per source × course × run × block.
with blocks as (
    select
        *,
        {{ json_text("xblock_data_json", "'block_type'") }} as told_type,
        {{ json_text("xblock_data_json", "'graded'") }} as told_graded
    from {{ source("raw_openedx", "course_blocks") }}
    qualify dense_rank() over (partition by source, course_key order by time_last_dumped desc) = 1
),

seen as (
    select
        source,
        course_key,
        block_id,
        bool_or(left(kind, 6) = 'video_') as is_video,
        bool_or(kind in ('problem_checked', 'problem_scored', 'answer_shown', 'hint_shown')) as is_problem
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and block_id is not null
    group by source, course_key, block_id
),

discussions as (
    select distinct
        source,
        course_key
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and left(kind, 6) = 'forum_'
),

told as (
    select
        source,
        course_key,
        location as item_id,
        display_name as item_name,
        coalesce(told_type, {{ openedx_block_type("location") }}) as source_kind,
        {{ adapter.quote("order") }} as position,
        lower(told_graded) = 'true' as is_in_graded
    from blocks
    qualify row_number() over (partition by source, course_key, location order by _file desc, _record desc) = 1
),

-- Not in the structure that was delivered, or none was.
untold as (
    select
        seen.source,
        seen.course_key,
        seen.block_id as item_id,
        null as item_name,
        coalesce(
            {{ openedx_block_type("seen.block_id") }},
            case when seen.is_video then 'video' when seen.is_problem then 'problem' end
        ) as source_kind,
        null as position,
        false as is_in_graded
    from seen
    left join told
        on
            seen.source = told.source
            and seen.course_key = told.course_key
            and seen.block_id = told.item_id
    where told.item_id is null
),

items as (
    select * from told
    union all
    select * from untold
    union all
    select
        source,
        course_key,
        'discussion' as item_id,
        null as item_name,
        'discussion' as source_kind,
        null as position,
        false as is_in_graded
    from discussions
),

sorted as (
    select
        *,
        {{ openedx_course("course_key") }} as course_id,
        {{ openedx_run("course_key") }} as version_id,
        {{ openedx_item_kind("source_kind") }} as kind
    from items
),

final as (
    select
        *,
        coalesce(is_in_graded, false) and kind in ('quiz', 'peer_graded', 'staff_graded') as is_graded,
        true as is_logged,
        false as is_final_exam
    from sorted
)

{{ canonical_select(
    "final",
    "course_items",
    absent=[
        "first_week",
        "last_week",
        "assignment_group",
        "best_count",
        "weight_share",
        "planned_minutes",
        "due_day",
        "late_penalty_share",
    ]
) }}
