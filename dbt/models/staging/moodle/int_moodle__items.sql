-- Activities of courses. Grain: one row per source × kind of activity × row of the kind's table.
{{ config(materialized="table", contract={"enforced": false}) }}

with
{% for module in ["assign", "quiz", "lesson", "forum", "page"] %}
{{ module }} as (
    {{ deduplicated("raw_moodle", module) }}
),
{% endfor %}
modules as (
    {{ deduplicated("raw_moodle", "modules") }}
),

course_modules as (
    {{ deduplicated("raw_moodle", "course_modules") }}
),

grade_items as (
    {{ deduplicated("raw_moodle", "grade_items") }}
),

described as (
    select
        source,
        'assign' as module,
        id as instance,
        course,
        name,
        grade <> 0 as is_graded,
        case when grade > 0 then grade end as maximum_score,
        duedate as due_at
    from assign

    union all

    -- Scores of attempts are points; `grade` says to what grade the best of them leads.
    select
        source,
        'quiz' as module,
        id as instance,
        course,
        name,
        coalesce(grade, sumgrades) > 0 as is_graded,
        case when sumgrades > 0 then sumgrades end as maximum_score,
        timeclose as due_at
    from quiz

    union all

    -- Grades of lessons are percentages, whatever the best possible grade.
    select
        source,
        'lesson' as module,
        id as instance,
        course,
        name,
        coalesce(grade, 100) > 0 and coalesce(practice, 0) = 0 as is_graded,
        100 as maximum_score,
        deadline as due_at
    from lesson

    union all

    select
        source,
        'forum' as module,
        id as instance,
        course,
        name,
        false as is_graded,
        null as maximum_score,
        null as due_at
    from forum

    union all

    select
        source,
        'page' as module,
        id as instance,
        course,
        name,
        false as is_graded,
        null as maximum_score,
        null as due_at
    from page
),

placed as (
    select
        course_modules.source,
        course_modules.id as course_module_id,
        modules.name as module,
        course_modules.instance,
        course_modules.course
    from course_modules
    inner join modules
        on
            course_modules.source = modules.source
            and course_modules.module = modules.id
),

-- The gradebook knows how many steps the scale of an assignment has.
grade_maxima as (
    select
        source,
        itemmodule as module,
        iteminstance as instance,
        max(grademax) as maximum_score
    from grade_items
    where itemtype = 'mod'
    group by source, itemmodule, iteminstance
)

select
    coalesce(described.source, placed.source) as source,
    coalesce(described.module, placed.module) as module,
    coalesce(described.instance, placed.instance) as instance,
    coalesce(described.course, placed.course) as moodle_course_id,
    placed.course_module_id,
    described.name as item_name,
    coalesce(described.is_graded, false) as is_graded,
    coalesce(described.maximum_score, grade_maxima.maximum_score) as maximum_score,
    described.due_at
from described
full outer join placed
    on
        described.source = placed.source
        and described.module = placed.module
        and described.instance = placed.instance
left join grade_maxima
    on
        described.source = grade_maxima.source
        and described.module = grade_maxima.module
        and described.instance = grade_maxima.instance
