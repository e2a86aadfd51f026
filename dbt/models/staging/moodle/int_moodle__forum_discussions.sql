-- Discussions with the post that began them. Grain: one row per source × discussion.
{{ config(materialized="table", contract={"enforced": false}) }}

with discussions as (
    {{ deduplicated("raw_moodle", "forum_discussions") }}
),

posts as (
    {{ deduplicated("raw_moodle", "forum_posts") }}
),

first_posts as (
    select
        source,
        discussion,
        id
    from posts
    qualify row_number() over (partition by source, discussion order by created, id) = 1
)

select
    discussions.source,
    discussions.id as discussion_id,
    discussions.course as moodle_course_id,
    discussions.forum as forum_id,
    first_posts.id as first_post_id
from discussions
left join first_posts
    on
        discussions.source = first_posts.source
        and discussions.id = first_posts.discussion
