-- Weeks of the course offerings that have ended in the data. Grain: one row per source × course × term × week.
-- Open courses and skill checks lie in no term: their learners come and go for years and share no weeks.
with offerings as (
    select
        dim_course_offering.*,
        dim_source.last_data_on,
        -- Without an end it has weeks as long as there are data.
        coalesce(
            dim_course_offering.length_days,
            {{ days_between("dim_course_offering.starts_on", "dim_source.last_data_on") }} + 1
        ) as known_length_days
    from {{ ref("dim_course_offering") }} as dim_course_offering
    inner join {{ ref("dim_source") }} as dim_source
        on dim_course_offering.source = dim_source.source
    where dim_course_offering.term_key is not null
),

items as (
    select
        offerings.course_offering_key,
        dim_course_item.course_item_key,
        dim_course_item.due_day,
        coalesce(dim_course_item.weight_share, 0) as weight_share
    from {{ ref("dim_course_item") }} as dim_course_item
    inner join offerings
        on dim_course_item.course_version_key = offerings.course_version_key
    where
        dim_course_item.is_graded
        and not dim_course_item.is_final_exam
),

enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
    where registered_on is not null
),

-- Who drops a course and enters it again is out of it in between.
registrations as (
    select * from {{ ref("fct_course_registration") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

weeks as (
    select
        offerings.source,
        offerings.course_offering_key,
        offerings.course_key,
        offerings.program_key,
        offerings.term_key,
        offerings.starts_on,
        offerings.length_days,
        cast(steps.week_number as integer) as week_number,
        {{ add_days("offerings.starts_on", "7 * steps.week_number") }} as as_of_on
    from offerings
    cross join
        {{ integers_between(0, "cast(floor(offerings.known_length_days / 7.0) as integer)", "steps", "week_number") }}
    where {{ add_days("offerings.starts_on", "7 * steps.week_number - 1") }} <= offerings.last_data_on
),

---------- what was due

assignments as (
    select
        weeks.course_offering_key,
        weeks.week_number,
        count(items.course_item_key) filter (where items.due_day < 7 * weeks.week_number) as due_item_count,
        coalesce(
            sum({{ exact("items.weight_share") }}) filter (where items.due_day < 7 * weeks.week_number), 0
        ) as due_weight_share,
        min(items.due_day) filter (where items.due_day >= 7 * weeks.week_number)
        - 7 * weeks.week_number as next_due_days,
        {{ row_hash(
            ["weeks.course_key", "weeks.program_key", "weeks.term_key", "weeks.starts_on", "weeks.length_days"]
        ) }} as offering_hash,
        coalesce(sum({{ row_hash(["items.course_item_key", "items.due_day", "items.weight_share"]) }}), 0) as items_hash
    from weeks
    left join items
        on weeks.course_offering_key = items.course_offering_key
    group by
        weeks.course_offering_key,
        weeks.course_key,
        weeks.program_key,
        weeks.term_key,
        weeks.week_number,
        weeks.starts_on,
        weeks.length_days
),

kinds as (
    {{ kinds_of_sources(ref("dim_course_item")) }}
),

-- What a source tells at all decides between 0 and null.
source_hashes as (
    select
        sources.source,
        {{ row_hash(
            ["sources.has_tasks", "sources.has_learning_time", "sources.has_interventions"] + kind_flags()
        ) }} as source_hash
    from {{ ref("dim_source") }} as sources
    left join kinds
        on sources.source = kinds.source
),

---------- what was known: every input of mart_learner_course_week, on the day on which it counts

facts as (
    select
        course_enrollment_key,
        known_on,
        {{ row_hash(
            ["activity_on", "known_on"] + activity_measures()
        ) }} as fact_hash
    from {{ ref("fct_daily_activity") }}

    union all

    select
        course_enrollment_key,
        unregistered_on as known_on,
        {{ row_hash(["'unregistered'", "registration_number", "unregistered_on"]) }} as fact_hash
    from registrations
    where unregistered_on is not null

    union all

    select
        course_enrollment_key,
        returned_on as known_on,
        {{ row_hash(["'returned'", "registration_number", "returned_on"]) }} as fact_hash
    from registrations
    where returned_on is not null

    union all

    select
        course_enrollment_key,
        submitted_on as known_on,
        {{ row_hash(["'submitted'", "submission_key", "submitted_on", "due_on", "is_carried_over"]) }} as fact_hash
    from {{ ref("fct_submission") }}

    union all

    select
        course_enrollment_key,
        score_known_on as known_on,
        {{ row_hash(["'scored'", "submission_key", "score_known_on", "score_share"]) }} as fact_hash
    from {{ ref("fct_submission") }}
    where score_share is not null

    union all

    select
        course_enrollment_key,
        registered_on as known_on,
        {{ row_hash(["'earlier'", "earlier_course_enrollment_key", "registered_on"]) }} as fact_hash
    from {{ ref("fct_earlier_enrollment") }}

    union all

    select
        course_enrollment_key,
        outcome_known_on as known_on,
        {{ row_hash(["'outcome'", "earlier_course_enrollment_key", "outcome", "outcome_known_on"]) }} as fact_hash
    from {{ ref("fct_earlier_enrollment") }}
    where outcome is not null

    union all

    select
        enrollments.course_enrollment_key,
        interventions.known_on,
        {{ row_hash([
            "'contacted'", "interventions.intervention_key", "interventions.contacted_at", "interventions.known_on",
            "interventions.channel",
        ]) }} as fact_hash
    from {{ ref("fct_intervention") }} as interventions
    inner join enrollments
        on interventions.learner_key = enrollments.learner_key
    where
        coalesce(interventions.course_key = enrollments.course_key, true)
        and coalesce(interventions.program_key = enrollments.program_key, true)
),

-- What a learner did before registering counts from the registration: until then there is no row to enter.
known as (
    select
        enrollments.course_offering_key,
        greatest(facts.known_on, enrollments.registered_on) as known_on,
        0 as registered_count,
        0 as unregistered_count,
        sum({{ row_hash(["enrollments.course_enrollment_key", "facts.fact_hash"]) }}) as known_hash
    from facts
    inner join enrollments
        on facts.course_enrollment_key = enrollments.course_enrollment_key
    group by enrollments.course_offering_key, greatest(facts.known_on, enrollments.registered_on)

    union all

    select
        enrollments.course_offering_key,
        enrollments.registered_on as known_on,
        1 as registered_count,
        0 as unregistered_count,
        {{ row_hash([
            "enrollments.course_enrollment_key", "enrollments.registered_on", "enrollments.studied_credits",
            "enrollments.previous_attempt_count", "learners.birth_year", "learners.age_band", "learners.gender",
            "learners.country", "learners.region", "learners.education_level", "learners.employment_status",
            "learners.deprivation_band", "learners.has_disability",
        ]) }} as known_hash
    from enrollments
    inner join learners
        on enrollments.learner_key = learners.learner_key

    union all

    select
        registrations.course_offering_key,
        greatest(registrations.unregistered_on, enrollments.registered_on) as known_on,
        0 as registered_count,
        1 as unregistered_count,
        0 as known_hash
    from registrations
    inner join enrollments
        on registrations.course_enrollment_key = enrollments.course_enrollment_key
    where registrations.unregistered_on is not null

    union all

    select
        registrations.course_offering_key,
        greatest(registrations.returned_on, enrollments.registered_on) as known_on,
        0 as registered_count,
        -1 as unregistered_count,
        0 as known_hash
    from registrations
    inner join enrollments
        on registrations.course_enrollment_key = enrollments.course_enrollment_key
    where registrations.returned_on is not null
),

known_by_week as (
    select
        known.course_offering_key,
        greatest(0, {{ as_of_week("offerings.starts_on", "known.known_on") }}) as week_number,
        sum(known.registered_count) as registered_count,
        sum(known.unregistered_count) as unregistered_count,
        sum(known.known_hash) as known_hash
    from known
    inner join offerings
        on known.course_offering_key = offerings.course_offering_key
    group by known.course_offering_key, greatest(0, {{ as_of_week("offerings.starts_on", "known.known_on") }})
),

known_so_far as (
    select
        weeks.*,
        sum(coalesce(known_by_week.registered_count, 0)) over so_far as registered_count,
        sum(coalesce(known_by_week.unregistered_count, 0)) over so_far as unregistered_count,
        sum(coalesce(known_by_week.known_hash, 0)) over so_far as known_hash
    from weeks
    left join known_by_week
        on
            weeks.course_offering_key = known_by_week.course_offering_key
            and weeks.week_number = known_by_week.week_number
    window so_far as (
        partition by weeks.course_offering_key
        order by weeks.week_number
        rows between unbounded preceding and current row
    )
)

select
    known_so_far.source,
    known_so_far.course_offering_key || ':' || known_so_far.week_number as course_week_key,
    known_so_far.course_offering_key,
    known_so_far.course_key,
    known_so_far.program_key,
    known_so_far.term_key,
    known_so_far.week_number,
    known_so_far.as_of_on,
    cast(7 * known_so_far.week_number as double) / known_so_far.length_days as elapsed_share,
    cast(known_so_far.registered_count as integer) as registered_count,
    cast(known_so_far.unregistered_count as integer) as unregistered_count,
    cast(known_so_far.registered_count - known_so_far.unregistered_count as integer) as enrolled_count,
    cast(assignments.due_item_count as integer) as due_item_count,
    cast(assignments.due_weight_share as double) as due_weight_share,
    assignments.next_due_days,
    cast(
        {{ row_hash([
            "known_so_far.known_hash", "assignments.offering_hash", "assignments.items_hash", "source_hashes.source_hash",
        ]) }} as {{ dbt.type_string() }}
    ) as inputs_hash
from known_so_far
inner join assignments
    on
        known_so_far.course_offering_key = assignments.course_offering_key
        and known_so_far.week_number = assignments.week_number
left join source_hashes
    on known_so_far.source = source_hashes.source
