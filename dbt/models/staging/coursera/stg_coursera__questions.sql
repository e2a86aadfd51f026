-- Versions of questions, each at the first item that asks it. Grain: one row per source × question × version.
with asked as (
    select
        source,
        assessment_id,
        assessment_question_id
    from {{ source("raw_coursera", "assessment_assessments_questions") }}

    union

    select
        source,
        assessment_id,
        assessment_question_id
    from {{ source("raw_coursera", "assessment_responses") }}
),

item_of_quiz as (
    {{ coursera_items_of("assessment_id", "course_branch_item_assessments", "course_item_assessments") }}
),

final as (
    select
        asked.source,
        {{ coursera_base("asked.assessment_question_id") }} as question_id,
        {{ coursera_version("asked.assessment_question_id") }} as question_version,
        min(item_of_quiz.course_id) as course_id,
        min_by(item_of_quiz.item_id, item_of_quiz.course_id || ' ' || item_of_quiz.item_id) as item_id,
        1 as maximum_score
    from asked
    inner join item_of_quiz
        on
            asked.source = item_of_quiz.source
            and asked.assessment_id = item_of_quiz.assessment_id
    group by
        asked.source,
        {{ coursera_base("asked.assessment_question_id") }},
        {{ coursera_version("asked.assessment_question_id") }}
)

{{ canonical_select("final", "questions") }}
