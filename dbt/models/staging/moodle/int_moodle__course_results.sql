-- How courses ended for learners, as far as the data reach. Grain: one row per source × learner × course of Moodle.
{{ config(materialized="table", contract={"enforced": false}) }}

with courses as (
    select * from {{ ref("int_moodle__courses") }}
),

completions as (
    select *
    from {{ source("raw_moodle", "course_completions") }}
    qualify row_number() over (
        partition by source, userid, course
        order by _file desc, _record desc
    ) = 1
),

grade_items as (
    {{ deduplicated("raw_moodle", "grade_items") }}
),

grades as (
    {{ deduplicated("raw_moodle", "grade_grades") }}
),

attempts as (
    select * from {{ source("raw_moodle", "quiz_attempts") }}
),

hand_ins as (
    select * from {{ source("raw_moodle", "assign_submission") }}
),

logged as (
    select * from {{ source("raw_moodle", "logstore_standard_log") }}
),

-- A grade is a result once the data reach beyond the end of the course; before, it may change with the next quiz.
newest as (
    select
        source,
        max(timemodified) as seen_at
    from grades
    group by source

    union all

    select
        source,
        max(timecompleted) as seen_at
    from completions
    group by source

    union all

    select
        source,
        max(timefinish) as seen_at
    from attempts
    group by source

    union all

    select
        source,
        max(timemodified) as seen_at
    from hand_ins
    group by source

    union all

    select
        source,
        max(timecreated) as seen_at
    from logged
    group by source
),

ends as (
    select
        source,
        max(seen_at) as seen_at
    from newest
    group by source
),

learners as (
    select distinct
        source,
        learner_id,
        moodle_course_id
    from {{ ref("int_moodle__registrations") }}
    where is_learner
),

gradebooks as (
    select
        source,
        courseid,
        id,
        grademax,
        gradepass
    from grade_items
    where itemtype = 'course'
),

keyed as (
    select
        learners.*,
        completions.userid is not null as is_tracked,
        completions.timecompleted,
        grades.finalgrade,
        gradebooks.grademax,
        gradebooks.gradepass
    from learners
    left join completions
        on
            learners.source = completions.source
            and learners.learner_id = completions.userid
            and learners.moodle_course_id = completions.course
    left join gradebooks
        on
            learners.source = gradebooks.source
            and learners.moodle_course_id = gradebooks.courseid
    left join grades
        on
            gradebooks.source = grades.source
            and gradebooks.id = grades.itemid
            and learners.learner_id = grades.userid
),

dated as (
    select
        keyed.*,
        {{ local_date("keyed.timecompleted", "courses.time_zone") }} as completed_on,
        coalesce({{ local_date("ends.seen_at", "courses.time_zone") }} > courses.ends_on, false) as is_over
    from keyed
    inner join courses
        on
            keyed.source = courses.source
            and keyed.moodle_course_id = courses.moodle_course_id
    left join ends
        on keyed.source = ends.source
)

select
    source,
    learner_id,
    moodle_course_id,
    completed_on,
    case
        when completed_on is not null then 'pass'
        when is_over and finalgrade >= gradepass then 'pass'
        -- Also who has no grade at all where a grade is needed to pass.
        when is_over and (is_tracked or gradepass is not null) then 'fail'
    end as outcome,
    case when is_over or completed_on is not null then finalgrade / nullif(grademax, 0) end as final_grade_share
from dated
