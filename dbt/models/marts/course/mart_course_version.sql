-- How a version of a course is made: assignments, weights, content, pacing.
-- Grain: one row per source × course × version.
with offerings as (
    select * from {{ ref("dim_course_offering") }}
),

-- Navigation pages are no items of an outline; final exams stand apart, as in the other marts.
items as (
    select
        *,
        -- A graded item without a week stands in the week in which it is due, what comes before the start in the first.
        case
            when first_week is not null then greatest(first_week, 1)
            when is_graded and due_day is not null then greatest(cast(floor(due_day / 7.0) as integer) + 1, 1)
        end as week
    from {{ ref("dim_course_item") }}
    where
        kind <> 'navigation'
        and not is_final_exam
),

-- What no item of a source has, the source does not tell: null, not 0.
sources as (
    select
        source,
        {%- for kind in assignment_kinds() %}
        bool_or(is_graded and kind = '{{ kind }}') as has_graded_{{ kind }},
        {%- endfor %}
        {%- for kind in lesson_kinds() %}
        bool_or(not is_graded and kind = '{{ kind }}') as has_{{ kind }},
        {%- endfor %}
        bool_or(is_graded and late_penalty_share is not null) as has_late_penalty,
        bool_or(is_graded and assignment_group is not null) as has_assignment_group
    from items
    group by source
),

---------- the version: its weeks and the sum of its weights

taught as (
    select
        offerings.course_version_key,
        count(distinct offerings.course_offering_key) as offering_count,
        min(offerings.starts_on) as first_starts_on,
        max(offerings.starts_on) as last_starts_on,
        cast(max(ceil(offerings.length_days / 7.0)) as integer) as week_count
    from offerings
    group by offerings.course_version_key
),

versions as (
    select
        items.source,
        items.course_key,
        items.course_version_key,
        taught.offering_count,
        taught.first_starts_on,
        taught.last_starts_on,
        -- Where some items have no week, the largest one says little: the length of the offering does.
        case
            when count(items.week) = count(*) then max(items.week)
            else greatest(max(items.week), taught.week_count)
        end as week_count,
        -- A version with an unknown weight has no known shares.
        case
            when count(items.weight_share) filter (where items.is_graded) = count(*) filter (where items.is_graded)
                then cast(sum({{ exact("items.weight_share") }}) filter (where items.is_graded) as double)
        end as weight_sum
    from items
    inner join taught
        on items.course_version_key = taught.course_version_key
    group by
        items.source,
        items.course_key,
        items.course_version_key,
        taught.offering_count,
        taught.first_starts_on,
        taught.last_starts_on,
        taught.week_count
),

-- Of a group of which the best k of n count each item has the nth part of the group's weight, and the kth if it counts.
grouped as (
    select
        *,
        count(*) over assignments as group_item_count,
        sum({{ exact("weight_share") }}) over assignments as group_weight_share
    from items
    where is_graded
    window assignments as (
        partition by course_version_key, coalesce(assignment_group, course_item_key)
    )
),

counted as (
    select
        course_item_key,
        case
            when assignment_group is not null and best_count between 1 and group_item_count - 1
                then cast(group_weight_share as double) / group_item_count
            else weight_share
        end as weight_share,
        case
            when assignment_group is not null and best_count between 1 and group_item_count - 1
                then cast(group_weight_share as double) / best_count
            else weight_share
        end as counted_weight_share
    from grouped
),

weighed as (
    select
        items.*,
        versions.week_count,
        {{ exact("counted.weight_share / nullif(versions.weight_sum, 0)") }} as weight,
        {{ exact("counted.counted_weight_share / nullif(versions.weight_sum, 0)") }} as counted_weight
    from items
    inner join versions
        on items.course_version_key = versions.course_version_key
    left join counted
        on items.course_item_key = counted.course_item_key
),

first_due as (
    select
        course_version_key,
        course_item_key as first_due_item_key,
        due_day as first_due_day
    from items
    where
        is_graded
        and due_day is not null
    qualify row_number() over (
        partition by course_version_key
        order by due_day, position, item_id
    ) = 1
),

---------- what the version has

designs as (
    select
        course_version_key,
        week_count,
        count(*) as item_count,
        count(*) filter (where is_graded) as assignment_count,
        count(*) filter (where not is_graded) as lesson_count,

        {%- for kind in assignment_kinds() %}
        count(*) filter (where is_graded and kind = '{{ kind }}') as {{ kind }}_item_count,
        {%- endfor %}
        {%- for kind in assignment_kinds() %}
        sum(case when kind = '{{ kind }}' then weight else 0 end) filter (where is_graded) as {{ kind }}_weight,
        {%- endfor %}
        count(*) filter (
            where is_graded and kind in ('staff_graded', 'peer_graded', 'programming', 'discussion', 'team')
        ) as hands_on_item_count,
        count(*) filter (where is_graded and late_penalty_share > 0) as late_penalty_item_count,
        count(*) filter (where is_graded and assignment_group is not null) as grouped_item_count,

        max(counted_weight) filter (where is_graded) as max_item_weight,
        count(counted_weight) filter (where is_graded) as weighed_item_count,
        count(*) filter (where is_graded and counted_weight < 0.05) as small_weight_count,
        count(*) filter (where is_graded and counted_weight >= 0.05 and counted_weight < 0.15) as medium_weight_count,
        count(*) filter (where is_graded and counted_weight >= 0.15) as large_weight_count,

        {%- for kind in lesson_kinds() %}
        count(*) filter (where not is_graded and kind = '{{ kind }}') as {{ kind }}_count,
        bool_or(not is_graded and kind = '{{ kind }}' and week is null) as is_{{ kind }}_week_unknown,
        {%- endfor %}
        count(*) filter (where not is_graded and kind not in ('video', 'reading', 'practice')) as other_count,
        bool_or(is_graded and week is null) as is_graded_week_unknown,
        bool_or(kind = 'video' and planned_minutes is null) as is_video_minutes_unknown,
        sum(case when kind = 'video' then {{ exact("planned_minutes") }} else 0 end) as video_minutes,
        sum(case when kind = 'video' and week = 1 then {{ exact("planned_minutes") }} else 0 end)
            as first_week_video_minutes
    from weighed
    group by
        course_version_key,
        week_count
),

---------- how it is spread over the weeks

weeks as (
    select
        course_version_key,
        week_count,
        week,
        {%- for kind in lesson_kinds() %}
        {{ exact("count(*) filter (where not is_graded and kind = '" ~ kind ~ "')") }} as {{ kind }},
        {%- endfor %}
        {{ exact("count(*) filter (where is_graded)") }} as graded,
        {{ exact("sum(case when kind = 'video' then " ~ exact("planned_minutes") ~ " else 0 end)") }} as video_minutes,
        {{ exact("coalesce(sum(weight) filter (where is_graded), 0)") }} as graded_weight
    from weighed
    where week is not null
    group by
        course_version_key,
        week_count,
        week
),

pacing as (
    select
        course_version_key,
        {%- for measure in ["video", "reading", "practice", "graded", "video_minutes", "graded_weight"] %}
        {{ weekly_variation(measure, "week_count") }} as {{ measure }}_weekly_variation,
        {%- endfor %}
        {%- for measure in ["practice", "graded", "video_minutes"] %}
        {{ weekly_centroid(measure, "week", "week_count") }} as {{ measure }}_centroid,
        {%- endfor %}
        {{ weekly_centroid("graded_weight", "week", "week_count") }} as graded_weight_centroid
    from weeks
    group by
        course_version_key,
        week_count
)

select
    versions.source,
    versions.course_version_key,
    versions.course_key,
    dim_course.program_key,
    first_due.first_due_item_key,

    ---------- offerings
    cast(versions.offering_count as integer) as offering_count,
    versions.first_starts_on,
    versions.last_starts_on,

    ---------- types of assignments
    {%- for kind in assignment_kinds() %}
    case when sources.has_graded_{{ kind }} then designs.{{ kind }}_item_count > 0 end as has_{{ kind }},
    {%- endfor %}
    designs.hands_on_item_count > 0 as has_hands_on,
    {%- for kind in assignment_kinds() %}
    case
        when sources.has_graded_{{ kind }}
            then designs.{{ kind }}_item_count / nullif(cast(designs.assignment_count as double), 0)
    end as {{ kind }}_item_share,
    {%- endfor %}
    {%- for kind in assignment_kinds() %}
    -- Each weight is rounded: three thirds would be more than the whole.
    case when designs.weighed_item_count > 0 then least(cast(designs.{{ kind }}_weight as double), 1) end
        as {{ kind }}_weight_share,
    {%- endfor %}

    ---------- rules and weights
    case
        when sources.has_late_penalty
            then designs.late_penalty_item_count / nullif(cast(designs.assignment_count as double), 0)
    end as late_penalty_share,
    case
        when sources.has_assignment_group
            then designs.grouped_item_count / nullif(cast(designs.assignment_count as double), 0)
    end as assignment_group_share,
    cast(designs.max_item_weight as double) as max_item_weight,
    {%- for size in ["small", "medium", "large"] %}
    designs.{{ size }}_weight_count / nullif(cast(designs.weighed_item_count as double), 0) as {{ size }}_weight_share,
    {%- endfor %}

    ---------- content
    {%- for kind in lesson_kinds() %}
    case when sources.has_{{ kind }} then designs.{{ kind }}_count / nullif(cast(designs.lesson_count as double), 0) end
        as ungraded_{{ kind }}_share,
    {%- endfor %}
    designs.other_count / nullif(cast(designs.lesson_count as double), 0) as ungraded_other_share,

    ---------- size
    cast(designs.item_count as integer) as item_count,
    cast(designs.assignment_count as integer) as assignment_count,
    versions.week_count,
    case when sources.has_video and not designs.is_video_minutes_unknown then cast(designs.video_minutes as double) end
        as video_minutes,

    ---------- pace of the content
    {%- for kind in lesson_kinds() %}
    case when sources.has_{{ kind }} then designs.{{ kind }}_count / cast(versions.week_count as double) end
        as {{ kind }}_per_week,
    {%- endfor %}
    case
        when sources.has_video and not designs.is_video_minutes_unknown
            then cast(designs.video_minutes as double) / versions.week_count
    end as video_minutes_per_week,
    {%- for kind in lesson_kinds() %}
    case when not designs.is_{{ kind }}_week_unknown then pacing.{{ kind }}_weekly_variation end
        as {{ kind }}_weekly_variation,
    {%- endfor %}
    {%- for measure in ["video_minutes_weekly_variation", "video_minutes_centroid"] %}
    case when not designs.is_video_week_unknown and not designs.is_video_minutes_unknown then pacing.{{ measure }} end
        as {{ measure }},
    {%- endfor %}
    case when not designs.is_practice_week_unknown then pacing.practice_centroid end as practice_centroid,
    case
        when sources.has_video and not designs.is_video_week_unknown and not designs.is_video_minutes_unknown
            then cast(designs.first_week_video_minutes as double)
    end as first_week_video_minutes,

    ---------- pace of the assignments
    first_due.first_due_day,
    designs.assignment_count / cast(versions.week_count as double) as graded_per_week,
    case when designs.weighed_item_count > 0 then 1 / cast(versions.week_count as double) end as graded_weight_per_week,
    {%- for measure in ["graded_weekly_variation", "graded_weight_weekly_variation", "graded_centroid"] %}
    case when not designs.is_graded_week_unknown then pacing.{{ measure }} end as {{ measure }},
    {%- endfor %}
    case when not designs.is_graded_week_unknown then pacing.graded_weight_centroid end as graded_weight_centroid
from versions
inner join {{ ref("dim_course") }} as dim_course
    on versions.course_key = dim_course.course_key
inner join sources
    on versions.source = sources.source
inner join designs
    on versions.course_version_key = designs.course_version_key
left join pacing
    on versions.course_version_key = pacing.course_version_key
left join first_due
    on versions.course_version_key = first_due.course_version_key
