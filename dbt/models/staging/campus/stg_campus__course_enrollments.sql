-- Enrollments in courses, and how they ended. Grain: one row per source × learner × course × term.
with enrollments as (
    {{ deduplicated("raw_campus", "course_enrollments") }}
),

-- Of several enrollments of a learner in the same course and term the last one counts.
latest as (
    select * from enrollments
    qualify row_number() over (
        partition by source, learner_id, course_id, term_id
        order by enrolled_at desc
    ) = 1
),

final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        cast(enrolled_at as date) as registered_on,
        dropped_on as unregistered_on,
        completed_on,
        is_paid,
        case
            when dropped_on is not null then 'withdrawn'
            when completed_on is not null then 'pass'
            when final_grade is not null then 'fail'
        end as outcome,
        final_grade / 100 as final_grade_share
    from latest
)

{{ canonical_select("final", "course_enrollments", absent=["studied_credits", "previous_attempt_count"]) }}
