-- What learners handed in, and when its score was known. Grain: one row per learner × course × term × item × attempt.
{{ in_slices(300000, ref("int_submissions_resolved")) }}

with submissions as (
    select * from {{ ref("int_submissions_resolved") }}
    where missing_reference is null
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

dated as (
    select
        submissions.*,
        offerings.course_offering_key,
        -- A course in no term is taken at any time: nothing is due.
        case
            when offerings.term_key is not null
                then
                    coalesce(
                        submissions.own_due_on, {{ add_days("offerings.starts_on", "submissions.due_day") }}
                    )
        end as due_on,
        coalesce(
            submissions.grade_released_on,
            -- A result carried over from an earlier enrollment was known before.
            case
                when submissions.is_carried_over then submissions.submitted_on
                {%- for grader, days in var("assumed_grading_days").items() %}
                when submissions.graded_by = '{{ grader }}' then {{ add_days("submissions.submitted_on", days) }}
                {%- endfor %}
            end
        ) as score_known_on
    from submissions
    inner join offerings
        on
            submissions.source = offerings.source
            and submissions.course_id = offerings.course_id
            and submissions.term_id = offerings.term_id
    where {{ in_slice("offerings.course_offering_key") }}
),

keyed as (
    select
        *,
        {{ entity_key(["learner_id", "course_id", "term_id"]) }} as course_enrollment_key,
        score / maximum_score as score_share
    from dated
),

-- The attempts of a learner at an item: the first one tells whether it was in time, the score known last counts.
attempts as (
    select
        *,
        row_number() over (
            partition by course_enrollment_key, item_id
            order by submitted_on, attempt_number
        ) as place,
        row_number() over (
            partition by course_enrollment_key, item_id
            order by case when score_share is null then 1 else 0 end, score_known_on desc, attempt_number desc
        ) as place_from_last_score,
        lag(score_share) over (
            partition by course_enrollment_key, item_id
            order by case when score_share is null then 1 else 0 end, score_known_on, attempt_number
        ) as score_share_before
    from keyed
)

select
    source,
    {{ entity_key(["learner_id", "course_id", "term_id", "item_id", "attempt_number"]) }} as submission_key,
    course_enrollment_key,
    {{ entity_key(["learner_id"]) }} as learner_key,
    course_offering_key,
    {{ entity_key(["course_id", "version_id", "item_id"]) }} as course_item_key,
    attempt_number,
    submitted_at,
    submitted_on,
    due_on,
    grade_released_on,
    score_known_on,
    graded_by,
    is_carried_over,
    submitted_on > due_on as is_late,
    score,
    maximum_score,
    score_share,
    {{ days_between("submitted_on", "due_on") }} as lead_days,
    place = 1 as is_first,
    score_share is not null and place_from_last_score = 1 as is_scored_last,
    case when score_share is not null then score_share_before end as replaced_score_share
from attempts
