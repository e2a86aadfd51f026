-- Due dates of single learners: exceptions for them or their groups, and extensions. Grain: one row per source × kind
-- of activity × row of the kind's table × learner, where one has a due date of their own.
{{ config(materialized="table", contract={"enforced": false}) }}

with assignment_exceptions as (
    {{ deduplicated("raw_moodle", "assign_overrides") }}
),

quiz_exceptions as (
    {{ deduplicated("raw_moodle", "quiz_overrides") }}
),

members as (
    {{ deduplicated("raw_moodle", "groups_members") }}
),

flags as (
    {{ deduplicated("raw_moodle", "assign_user_flags") }}
),

exceptions as (
    select
        source,
        'assign' as module,
        assignid as instance,
        userid,
        groupid,
        sortorder,
        duedate as due_at
    from assignment_exceptions

    union all

    select
        source,
        'quiz' as module,
        quiz as instance,
        userid,
        groupid,
        null as sortorder,
        timeclose as due_at
    from quiz_exceptions
),

-- An exception for the learner counts before those for groups. Of these, for assignments the first in their order
-- counts, for quizzes the latest.
of_learners as (
    select
        exceptions.source,
        exceptions.module,
        exceptions.instance,
        coalesce(exceptions.userid, members.userid) as learner_id,
        exceptions.due_at
    from exceptions
    left join members
        on
            exceptions.source = members.source
            and exceptions.groupid = members.groupid
            and exceptions.userid is null
    where
        exceptions.due_at is not null
        and coalesce(exceptions.userid, members.userid) is not null
    qualify row_number() over (
        partition by
            exceptions.source,
            exceptions.module,
            exceptions.instance,
            coalesce(exceptions.userid, members.userid)
        order by
            case when exceptions.userid is null then 1 else 0 end asc,
            exceptions.sortorder asc nulls last,
            exceptions.due_at desc
    ) = 1
),

extensions as (
    select
        source,
        'assign' as module,
        assignment as instance,
        userid as learner_id,
        max(extensionduedate) as due_at
    from flags
    where extensionduedate is not null
    group by source, assignment, userid
),

together as (
    select * from of_learners
    union all
    select * from extensions
)

select
    source,
    module,
    instance,
    learner_id,
    max(due_at) as due_at
from together
group by source, module, instance, learner_id
