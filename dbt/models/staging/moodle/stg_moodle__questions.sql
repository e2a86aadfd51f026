-- Questions that were asked, by wording. Grain: one row per source × question × version.
with answers as (
    select * from {{ ref("int_moodle__answers") }}
),

-- A question bank serves several quizzes: the one that asked first has the question.
final as (
    select
        source,
        question_id,
        question_version,
        course_id,
        item_id,
        max(maximum_score) over (partition by source, question_id, question_version) as maximum_score
    from answers
    qualify row_number() over (
        partition by source, question_id, question_version
        order by answered_at, course_id, item_id
    ) = 1
)

{{ canonical_select("final", "questions") }}
