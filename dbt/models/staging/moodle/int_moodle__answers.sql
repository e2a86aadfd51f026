-- Questions that learners were asked in quizzes they handed in, as graded last. Grain: one row per source × question
-- asked.
{{ config(materialized="table", contract={"enforced": false}) }}

with hand_ins as (
    select * from {{ ref("int_moodle__hand_ins") }}
    where module = 'quiz'
),

asked as (
    {{ deduplicated("raw_moodle", "question_attempts") }}
),

steps as (
    {{ deduplicated("raw_moodle", "question_attempt_steps") }}
),

versions as (
    {{ deduplicated("raw_moodle", "question_versions") }}
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

-- The last step says how it ended; who gave up has no share of the mark.
last_steps as (
    select
        source,
        questionattemptid,
        state,
        fraction,
        timecreated
    from steps
    qualify row_number() over (
        partition by source, questionattemptid
        order by sequencenumber desc
    ) = 1
)

select
    hand_ins.source,
    hand_ins.learner_id,
    coalesce(versions.questionbankentryid, asked.questionid) as question_id,
    coalesce(versions.version, 1) as question_version,
    hand_ins.attempt_number,
    courses.course_id,
    {{ moodle_item("hand_ins.module", "hand_ins.instance") }} as item_id,
    coalesce(hand_ins.submitted_at, last_steps.timecreated) as answered_at,
    greatest(coalesce(last_steps.fraction, 0), 0) * asked.maxmark as score,
    asked.maxmark as maximum_score
from hand_ins
inner join asked
    on
        hand_ins.source = asked.source
        and hand_ins.questionusageid = asked.questionusageid
        and asked.maxmark > 0
inner join last_steps
    on
        asked.source = last_steps.source
        and asked.id = last_steps.questionattemptid
        and (
            last_steps.state in ('gradedright', 'gradedpartial', 'gradedwrong', 'gaveup', 'mangaveup')
            or last_steps.state like 'mangr%'
        )
left join versions
    on
        asked.source = versions.source
        and asked.questionid = versions.questionid
inner join courses
    on
        hand_ins.source = courses.source
        and hand_ins.moodle_course_id = courses.moodle_course_id
-- An answer without a time cannot be told from a later one.
where coalesce(hand_ins.submitted_at, last_steps.timecreated) is not null
