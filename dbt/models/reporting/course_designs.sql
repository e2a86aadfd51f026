-- How courses are designed, in the version that was offered last. Grain: one row per source × course.
with versions as (
    select
        *,
        row_number() over (partition by course_key order by last_starts_on desc, course_version_key desc) = 1 as is_last
    from {{ ref("mart_course_version") }}
)

select
    versions.source,
    versions.course_key,
    versions.course_version_key,
    versions.program_key,
    courses.course_name,
    courses.course_type,
    programs.program_name,
    versions.last_starts_on,
    versions.week_count,
    versions.assignment_count,
    versions.has_staff_graded,
    versions.has_peer_graded,
    versions.has_hands_on,
    versions.staff_graded_weight_share,
    versions.peer_graded_weight_share,
    versions.quiz_weight_share,
    versions.max_item_weight,
    versions.graded_weight_centroid,
    versions.ungraded_practice_share,
    versions.ungraded_video_share,
    versions.ungraded_reading_share,
    versions.video_minutes_per_week,
    versions.video_minutes_centroid
from versions
inner join {{ ref("dim_course") }} as courses
    on versions.course_key = courses.course_key
left join {{ ref("dim_program") }} as programs
    on versions.program_key = programs.program_key
where versions.is_last
