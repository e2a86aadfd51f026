-- Reviews of hand-ins: the points of the options that a reviewer chose. Grain: one row per source × review.
with reviews as (
    {{ deduplicated("raw_coursera", "peer_reviews") }}
),

hand_ins as (
    {{ deduplicated("raw_coursera", "peer_submissions") }}
),

assignments as (
    {{ deduplicated("raw_coursera", "peer_assignments") }}
),

choices as (
    select * from {{ source("raw_coursera", "peer_review_part_choices") }}
),

options as (
    select * from {{ source("raw_coursera", "peer_assignment_review_schema_part_options") }}
),

submissions as (
    select * from {{ ref("stg_coursera__submissions") }}
),

item_of_peer_assignment as (
    {{ coursera_items_of(
        "peer_assignment_id", "course_branch_item_peer_assignments", "course_item_peer_assignments"
    ) }}
),

points as (
    select
        choices.source,
        choices.peer_review_id,
        sum(options.peer_assignment_review_schema_part_option_score) as score
    from choices
    inner join options
        on
            choices.source = options.source
            and choices.peer_assignment_id = options.peer_assignment_id
            and choices.peer_assignment_review_schema_part_id = options.peer_assignment_review_schema_part_id
            and choices.peer_assignment_review_schema_part_option_id
            = options.peer_assignment_review_schema_part_option_id
    group by choices.source, choices.peer_review_id
),

final as (
    select
        reviews.source,
        reviews.peer_review_id as mark_id,
        submissions.learner_id,
        submissions.course_id,
        submissions.term_id,
        submissions.item_id,
        submissions.attempt_number,
        case when reviews.peer_review_is_mentor_review then 'staff' else 'peer' end as graded_by,
        reviews.user_id as grader_id,
        points.score,
        assignments.peer_assignment_maximum_score as maximum_score,
        reviews.peer_review_created_ts as marked_at
    from reviews
    inner join points
        on
            reviews.source = points.source
            and reviews.peer_review_id = points.peer_review_id
    inner join hand_ins
        on
            reviews.source = hand_ins.source
            and reviews.peer_submission_id = hand_ins.peer_submission_id
    inner join assignments
        on
            hand_ins.source = assignments.source
            and hand_ins.peer_assignment_id = assignments.peer_assignment_id
    inner join item_of_peer_assignment
        on
            hand_ins.source = item_of_peer_assignment.source
            and hand_ins.peer_assignment_id = item_of_peer_assignment.peer_assignment_id
    inner join submissions
        on
            hand_ins.source = submissions.source
            and hand_ins.user_id = submissions.learner_id
            and item_of_peer_assignment.course_id = submissions.course_id
            and item_of_peer_assignment.item_id = submissions.item_id
            and hand_ins.peer_submission_created_ts = submissions.submitted_at
    where points.score <= assignments.peer_assignment_maximum_score
)

{{ canonical_select("final", "submission_marks") }}
