-- Courses in their term, with their own dates or the term's. Grain: one row per source × course.
with courses as (
    select * from (
        {{ deduplicated("raw_canvas", "courses") }}
    ) as latest
    where action <> 'D'
),

terms as (
    select * from {{ ref("stg_canvas__terms") }}
),

final as (
    select
        courses.source,
        courses.id as course_id,
        courses.enrollment_term_id as term_id,
        courses.id as version_id,
        coalesce(cast(courses.start_at as date), terms.starts_on) as starts_on,
        coalesce(cast(courses.conclude_at as date), terms.ends_on) as ends_on
    from courses
    left join terms
        on
            courses.source = terms.source
            and courses.enrollment_term_id = terms.term_id
    where
        courses.workflow_state <> 'deleted'
        and coalesce(cast(courses.start_at as date), terms.starts_on) is not null
)

{{ canonical_select("final", "course_offerings") }}
