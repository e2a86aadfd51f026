-- Answers to questions and what they refer to and do not find. Grain: one row per source × answer.
with responses as (
    {{ union_contracts("responses") }}
),

learners as (
    {{ union_contracts("learners") }}
),

questions as (
    {{ union_contracts("questions") }}
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
),

sources as (
    select * from {{ ref("int_sources_zoned") }}
)

select
    responses.*,
    {{ local_date("responses.answered_at", "coalesce(courses.time_zone, sources.time_zone)") }} as answered_on,
    case
        when learners.learner_id is null then 'learners'
        when questions.question_id is null then 'questions'
    end as missing_reference
from responses
left join learners
    on
        responses.source = learners.source
        and responses.learner_id = learners.learner_id
left join questions
    on
        responses.source = questions.source
        and responses.question_id = questions.question_id
        and responses.question_version = questions.question_version
left join courses
    on
        responses.source = courses.source
        and responses.course_id = courses.course_id
left join sources
    on responses.source = sources.source
