-- What people do in courses, from the log store, posts and completion. Grain: one row per raw row; a post that the log
-- tells too repeats the event_id.
-- No window function: filters on `source` and `occurred_on` must reach the partitions of raw. What is left out depends
-- on the row alone: of events that were counted before, none may go when other tables change.
with logged as (
    select * from {{ source("raw_moodle", "logstore_standard_log") }}
),

posts as (
    select * from {{ source("raw_moodle", "forum_posts") }}
),

completions as (
    select * from {{ source("raw_moodle", "course_modules_completion") }}
),

discussions as (
    select * from {{ ref("int_moodle__forum_discussions") }}
),

items as (
    select * from {{ ref("int_moodle__items") }}
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

front_pages as (
    select
        source,
        id as moodle_course_id
    from {{ source("raw_moodle", "course") }}
    where category is null
    group by source, id
),

-- What somebody did who was logged in as the learner, and what restores and scripts write, is not the learner's doing.
of_the_log as (
    select
        logged.source,
        case
            when logged.component = 'mod_forum' and logged.target = 'post' and logged.action = 'created'
                then 'post-' || logged.objectid
            when logged.component = 'mod_forum' and logged.target = 'discussion' and logged.action = 'created'
                then 'discussion-' || logged.objectid
            else 'log-' || logged.id
        end as event_id,
        logged.userid as learner_id,
        logged.courseid as moodle_course_id,
        coalesce(placed.module, viewed.module, posted.module) as module,
        coalesce(placed.instance, viewed.instance, posted.instance) as instance,
        case
            when logged.component = 'mod_forum' and logged.target = 'discussion' and logged.action = 'created'
                then 'forum_thread'
            when logged.component = 'mod_forum' and logged.target = 'post' and logged.action = 'created'
                then 'forum_reply'
            when
                logged.component = 'mod_forum'
                and logged.target in ('discussion', 'course_module')
                and logged.action = 'viewed'
                then 'forum_view'
            else logged.target || '_' || logged.action
        end as event_type,
        logged.timecreated as occurred_at,
        logged.event_date as occurred_on
    from logged
    left join items as placed
        on
            logged.source = placed.source
            and logged.contextlevel = 70
            and logged.contextinstanceid = placed.course_module_id
    -- Where course_modules is not delivered, views name the activity by its own table.
    left join items as viewed
        on
            logged.source = viewed.source
            and logged.target = 'course_module'
            and logged.objecttable = viewed.module
            and logged.objectid = viewed.instance
    left join discussions
        on
            logged.source = discussions.source
            and logged.component = 'mod_forum'
            and logged.target = 'discussion'
            and logged.objectid = discussions.discussion_id
    left join items as posted
        on
            discussions.source = posted.source
            and posted.module = 'forum'
            and discussions.forum_id = posted.instance
    left join front_pages
        on
            logged.source = front_pages.source
            and logged.courseid = front_pages.moodle_course_id
    where
        logged.userid is not null
        and logged.courseid is not null
        and front_pages.source is null
        and logged.realuserid is null
        and coalesce(logged.origin, 'web') in ('web', 'ws')
        -- Told by course_modules_completion, and of enrolments by the tables of enrolments.
        and not (logged.component = 'core' and logged.target in ('course_module_completion', 'user_enrolment', 'role'))
),

of_posts as (
    select
        posts.source,
        case
            when posts.id = discussions.first_post_id then 'discussion-' || posts.discussion
            else 'post-' || posts.id
        end as event_id,
        posts.userid as learner_id,
        discussions.moodle_course_id,
        'forum' as module,
        discussions.forum_id as instance,
        case when posts.id = discussions.first_post_id then 'forum_thread' else 'forum_reply' end as event_type,
        posts.created as occurred_at,
        posts.event_date as occurred_on
    from posts
    left join discussions
        on
            posts.source = discussions.source
            and posts.discussion = discussions.discussion_id
),

of_completion as (
    select
        completions.source,
        'completion-' || completions.id as event_id,
        completions.userid as learner_id,
        items.moodle_course_id,
        items.module,
        items.instance,
        'item_completed' as event_type,
        completions.timemodified as occurred_at,
        completions.event_date as occurred_on
    from completions
    left join items
        on
            completions.source = items.source
            and completions.coursemoduleid = items.course_module_id
    where completions.completionstate in (1, 2)
),

together as (
    select * from of_the_log
    union all
    select * from of_posts
    union all
    select * from of_completion
),

final as (
    select
        together.source,
        together.event_id,
        together.learner_id,
        -- Core holds events of a course that is not known.
        coalesce(courses.course_id, together.moodle_course_id, 'unknown') as course_id,
        coalesce(courses.term_id, 'unknown') as term_id,
        {{ moodle_item("together.module", "together.instance") }} as item_id,
        together.event_type,
        together.occurred_at,
        together.occurred_on,
        1 as click_count
    from together
    left join courses
        on
            together.source = courses.source
            and together.moodle_course_id = courses.moodle_course_id
)

{{ canonical_select("final", "events", absent=["received_at"]) }}
