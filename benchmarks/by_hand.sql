-- The OULAD marts as one script for DuckDB, from the unpacked CSV files: what an engineer would write who needs the
-- tables once and nothing around them. It trusts its input: no quarantine, no checks, no typed raw, one source.
-- `benchmarks/oulad.py` runs it, and proves that it makes the same rows as the warehouse.
-- Before it: set variable folder = '…', where the CSV files lie.

-- First week whose rows know a day, counted from the start: week w knows the days before day 7·w.
create temp macro week_of(day) as floor(day / 7)::integer + 1;

---------- files

create temp table courses as
select
    row_number() over (order by code_module, code_presentation)::integer as offering,
    *,
    'oulad:' || code_module as course_key,
    'oulad:' || code_module || ':' || code_presentation as course_offering_key,
    'oulad:open_university:' || code_presentation as term_key,
    make_date(code_presentation[:4]::integer, if(code_presentation[5] = 'B', 2, 10), 1) as starts_on,
    starts_on + module_presentation_length - 1 as ends_on,
    ceil(module_presentation_length / 7)::integer as week_count,
    7 * week_count // 2 as midpoint_day,
from read_csv(getvariable('folder') || '/courses.csv', header = true, columns = {
    code_module: 'varchar', code_presentation: 'varchar', module_presentation_length: 'integer'
});

create temp table assessments as
select
    offering,
    id_assessment,
    assessment_type,
    date as due_day,
    starts_on + date as due_on,
    weight / 100 as weight_share,
    -- Sums of decimals do not depend on the order in which threads add them up.
    coalesce(weight / 100, 0)::decimal(18, 9) as weight,
    assessment_type = 'Exam' as is_exam,
from read_csv(getvariable('folder') || '/assessments.csv', header = true, columns = {
    code_module: 'varchar', code_presentation: 'varchar', id_assessment: 'integer', assessment_type: 'varchar',
    date: 'integer', weight: 'double'
})
join courses using (code_module, code_presentation);

create temp table sites as
select
    id_site,
    offering,
    case
        when activity_type in ('oucontent', 'resource', 'url', 'page', 'htmlactivity', 'glossary') then 'reading'
        when activity_type in ('quiz', 'externalquiz') then 'quiz'
        when activity_type = 'forumng' then 'discussion'
        when activity_type = 'ouwiki' then 'team'
        when activity_type in ('homepage', 'subpage', 'sharedsubpage', 'dualpane', 'folder') then 'navigation'
        else 'other'
    end as kind,
from read_csv(getvariable('folder') || '/vle.csv', header = true, columns = {
    id_site: 'integer', code_module: 'varchar', code_presentation: 'varchar', activity_type: 'varchar',
    week_from: 'integer', week_to: 'integer'
})
join courses using (code_module, code_presentation);

create temp table enrollments as
select
    row_number() over (order by offering, id_student)::integer as enrollment,
    offering,
    id_student,
    starts_on,
    ends_on,
    course_offering_key,
    course_key,
    term_key,
    code_module,
    code_presentation,
    'oulad:' || id_student as learner_key,
    'oulad:' || id_student || course_offering_key[6:] as course_enrollment_key,
    case gender when 'M' then 'male' when 'F' then 'female' end as gender,
    age_band,
    region,
    highest_education as education_level,
    if(imd_band = '10-20', '10-20%', imd_band) as deprivation_band,
    disability = 'Y' as has_disability,
    studied_credits,
    num_of_prev_attempts as previous_attempt_count,
    lower(final_result) as outcome,
    starts_on + date_registration as registered_on,
    starts_on + date_unregistration as unregistered_on,
    -- Boards confirm results some weeks after the end.
    if(outcome = 'withdrawn', coalesce(unregistered_on, ends_on), ends_on + 60) as outcome_known_on,
    registered_on - starts_on as registered_day,
    unregistered_on - starts_on as unregistered_day,
    greatest(0, week_of(registered_day)) as first_week,
from read_csv(getvariable('folder') || '/studentInfo.csv', header = true, columns = {
    code_module: 'varchar', code_presentation: 'varchar', id_student: 'integer', gender: 'varchar', region: 'varchar',
    highest_education: 'varchar', imd_band: 'varchar', age_band: 'varchar', num_of_prev_attempts: 'integer',
    studied_credits: 'integer', disability: 'varchar', final_result: 'varchar'
}) as info
join courses using (code_module, code_presentation)
left join read_csv(getvariable('folder') || '/studentRegistration.csv', header = true, columns = {
    code_module: 'varchar', code_presentation: 'varchar', id_student: 'integer', date_registration: 'integer',
    date_unregistration: 'integer'
}) as registration using (code_module, code_presentation, id_student);

-- Students as they described themselves at their first registration.
create temp table learners as
select learner_key, gender, age_band, region, education_level, deprivation_band, has_disability,
from enrollments
qualify row_number() over (
    partition by id_student order by coalesce(registered_on, starts_on), code_presentation, code_module
) = 1;

create temp table submissions as
select
    enrollment,
    id_assessment,
    is_exam,
    due_day,
    due_on,
    weight,
    weight_share,
    is_banked = 1 as is_carried_over,
    enrollments.starts_on + date_submitted as submitted_on,
    due_on - submitted_on as lead_days,
    score / 100 as score_share,
    -- Tutors return work within ten working days; a result carried over was known before.
    submitted_on + case when is_carried_over then 0 when assessment_type = 'TMA' then 14 when is_exam then 60 else 0 end
        as score_known_on,
from read_csv(getvariable('folder') || '/studentAssessment.csv', header = true, columns = {
    id_assessment: 'integer', id_student: 'integer', date_submitted: 'integer', is_banked: 'integer', score: 'double'
})
join assessments using (id_assessment)
join enrollments using (offering, id_student);

create temp table daily as
select
    enrollment,
    day,
    event_count,
    click_count,
    reading,
    quiz,
    discussion,
    team,
    navigation,
    other,
from (
    select
        offering,
        id_student,
        date as day,
        count(*) as event_count,
        sum(sum_click)::integer as click_count,
        coalesce(sum(sum_click) filter (where kind = 'reading'), 0)::integer as reading,
        coalesce(sum(sum_click) filter (where kind = 'quiz'), 0)::integer as quiz,
        coalesce(sum(sum_click) filter (where kind = 'discussion'), 0)::integer as discussion,
        coalesce(sum(sum_click) filter (where kind = 'team'), 0)::integer as team,
        coalesce(sum(sum_click) filter (where kind = 'navigation'), 0)::integer as navigation,
        coalesce(sum(sum_click) filter (where kind = 'other'), 0)::integer as other,
    from read_csv(getvariable('folder') || '/studentVle.csv', header = true, columns = {
        code_module: 'varchar', code_presentation: 'varchar', id_student: 'integer', id_site: 'integer',
        date: 'integer', sum_click: 'integer'
    })
    join sites using (id_site)
    group by all
)
join enrollments using (offering, id_student);

create temp table earlier as
select
    later.enrollment,
    later.starts_on,
    earlier.registered_on,
    earlier.outcome,
    earlier.outcome_known_on,
from enrollments as later
join enrollments as earlier on later.id_student = earlier.id_student and later.starts_on > earlier.starts_on
where earlier.registered_on is not null;

---------- daily activity

create schema core;
create schema marts;

create table core.fct_daily_activity as
select
    'oulad' as source,
    course_enrollment_key,
    learner_key,
    course_offering_key,
    starts_on + day as activity_on,
    activity_on as known_on,
    true as is_first_known,
    null::boolean as is_first_task_known,
    null::boolean as is_first_forum_known,
    null::boolean as is_first_posting_known,
    event_count,
    click_count::bigint as click_count,
    null::bigint as video_click_count,
    reading::bigint as reading_click_count,
    null::bigint as practice_click_count,
    quiz::bigint as quiz_click_count,
    null::bigint as assignment_click_count,
    discussion::bigint as discussion_click_count,
    team::bigint as team_click_count,
    navigation::bigint as navigation_click_count,
    other::bigint as other_click_count,
    null::bigint as task_count,
    null::bigint as forum_view_count,
    null::bigint as forum_thread_count,
    null::bigint as forum_reply_count,
    null::decimal(18, 6) as learning_seconds,
from daily
join enrollments using (enrollment);

set variable last_on = (select max(activity_on) from core.fct_daily_activity);

---------- learner × course

create table marts.mart_learner_course as
with activity as (
    select
        enrollment,
        sum(click_count) as click_count,
        sum(reading) as reading,
        sum(quiz) as quiz,
        sum(discussion) as discussion,
        sum(team) as team,
        sum(navigation) as navigation,
        sum(other) as other,
        count(*) as active_days,
        min(day) as first_activity_day,
        max(day) as last_activity_day,
    from daily
    group by enrollment
),

due as (
    select
        offering,
        count(*) as due_item_count,
        sum(weight)::double as due_weight_share,
        min(due_day) as first_due_day,
        arg_min(id_assessment, (due_day, id_assessment::varchar)) as first_assessment,
        sum(weight) filter (where due_day is not null)::double as due_weight,
        sum(weight) filter (where due_day < midpoint_day)::double as midpoint_weight,
        sum(weight) filter (where is_due_first)::double as first_weight,
    from (
        select *, due_day = min(due_day) over (partition by offering) as is_due_first
        from assessments
        where not is_exam
    )
    join courses using (offering)
    group by offering
),

handed_in as (
    select
        enrollment,
        count(*) as submitted_item_count,
        count(*) filter (where is_carried_over) as carried_over_item_count,
        count(*) filter (where lead_days < 0) as late_item_count,
        count(*) filter (where lead_days >= 0) as on_time_item_count,
        avg(lead_days) filter (where not is_carried_over) as mean_submission_lead_days,
        bool_or(lead_days >= 0) filter (where submissions.due_day = due.first_due_day) as is_first_item_on_time,
        bool_or(lead_days >= 0) filter (where id_assessment = first_assessment) as is_first_on_time,
        max(score_share) filter (where id_assessment = first_assessment) as first_score_share,
        sum(weight) filter (where lead_days >= 0)::double as on_time_weight,
        sum(weight) filter (where lead_days >= 0 and submissions.due_day < midpoint_day)::double as on_time_midpoint_weight,
        sum(weight) filter (where lead_days >= 0 and submissions.due_day = first_due_day)::double as on_time_first_weight,
        count(score_share) as scored_item_count,
        avg(score_share::decimal(18, 9)) as mean_score_share,
        sum((weight_share * score_share)::decimal(18, 9))::double as earned_weight_share,
        sum(weight) filter (where score_share is not null)::double as scored_weight_share,
    from submissions
    join enrollments using (enrollment)
    join due using (offering)
    join courses using (offering)
    where not is_exam
    group by enrollment
),

exams as (
    select enrollment, avg(score_share::decimal(18, 9)) as exam_score_share,
    from submissions
    where is_exam
    group by enrollment
),

before as (
    select
        enrollment,
        count(*) as earlier_course_count,
        count(*) filter (where outcome in ('pass', 'distinction') and outcome_known_on < starts_on) as passed,
        count(*) filter (where outcome in ('fail', 'withdrawn') and outcome_known_on < starts_on) as failed,
    from earlier
    where registered_on < starts_on
    group by enrollment
)

select
    'oulad' as source,
    course_enrollment_key,
    learner_key,
    course_offering_key,
    course_key,
    'oulad:open_university' as program_key,
    term_key,
    learners.gender,
    learners.age_band,
    null::integer as birth_year,
    null::varchar as country,
    learners.region,
    learners.education_level,
    null::varchar as employment_status,
    learners.deprivation_band,
    learners.has_disability,
    null::boolean as is_paid,
    studied_credits,
    previous_attempt_count,
    registered_on,
    (-registered_day)::integer as registration_lead_days,
    coalesce(earlier_course_count, 0)::integer as earlier_course_count,
    coalesce(passed, 0)::integer as earlier_passed_course_count,
    coalesce(failed, 0)::integer as earlier_failed_course_count,
    unregistered_on,
    unregistered_day::integer as unregistered_day,
    unregistered_on as last_dropped_on,
    outcome,
    outcome_known_on,
    false as is_self_paced,
    case
        when outcome in ('pass', 'distinction') then 'passed'
        when outcome = 'fail' then 'failed'
        when outcome = 'withdrawn' then 'withdrawn'
        when ends_on <= getvariable('last_on') then 'not_told'
        else 'running'
    end as outcome_state,
    outcome is not null and ends_on <= getvariable('last_on') as is_outcome_final,
    outcome in ('pass', 'distinction') as is_passed,
    outcome = 'withdrawn' as is_withdrawn,
    outcome in ('fail', 'withdrawn') as is_failed_or_withdrawn,
    null::double as final_grade_share,
    click_count is not null as has_activity,
    coalesce(click_count, 0)::integer as click_count,
    null::integer as video_click_count,
    coalesce(reading, 0)::integer as reading_click_count,
    null::integer as practice_click_count,
    coalesce(quiz, 0)::integer as quiz_click_count,
    null::integer as assignment_click_count,
    coalesce(discussion, 0)::integer as discussion_click_count,
    coalesce(team, 0)::integer as team_click_count,
    coalesce(navigation, 0)::integer as navigation_click_count,
    coalesce(other, 0)::integer as other_click_count,
    coalesce(active_days, 0)::integer as active_days,
    first_activity_day,
    last_activity_day,
    coalesce(due_item_count, 0)::integer as due_item_count,
    coalesce(submitted_item_count, 0)::integer as submitted_item_count,
    coalesce(carried_over_item_count, 0)::integer as carried_over_item_count,
    coalesce(late_item_count, 0)::integer as late_item_count,
    coalesce(submitted_item_count, 0) / due_item_count as submitted_share,
    coalesce(on_time_item_count, 0) / due_item_count as on_time_share,
    if(first_due_day is not null, coalesce(is_first_item_on_time, false), null) as is_first_item_on_time,
    mean_submission_lead_days,
    coalesce(scored_item_count, 0)::integer as scored_item_count,
    mean_score_share,
    earned_weight_share / nullif(scored_weight_share, 0) as weighted_score_share,
    coalesce(earned_weight_share, 0) / nullif(due_weight_share, 0) as earned_share,
    coalesce(on_time_first_weight, 0) / nullif(first_weight, 0) as first_deadline_submitted_share,
    coalesce(on_time_midpoint_weight, 0) / nullif(midpoint_weight, 0) as midpoint_submitted_share,
    coalesce(on_time_weight, 0) / nullif(due_weight, 0) as end_submitted_share,
    if(first_due_day is not null, coalesce(is_first_on_time, false), null) as is_first_on_time,
    if(first_due_day is not null, coalesce(is_first_on_time, false) and first_score_share >= 0.4, null)
        as has_passed_first,
    exam_score_share,
from enrollments
join learners using (learner_key)
left join activity using (enrollment)
left join due using (offering)
left join handed_in using (enrollment)
left join exams using (enrollment)
left join before using (enrollment);

---------- course × week

create table marts.mart_course_week as
with weeks as (
    select *, unnest(range(module_presentation_length // 7 + 1))::integer as week_number, from courses
),

registered as (
    select offering, first_week as week_number, 1 as registered, 0 as unregistered,
    from enrollments
    where registered_on is not null
    union all
    select offering, greatest(first_week, week_of(unregistered_day)), 0, 1,
    from enrollments
    where registered_on is not null and unregistered_on is not null
),

changes as (
    select offering, week_number, sum(registered) as registered, sum(unregistered) as unregistered,
    from registered
    group by all
),

due as (
    select
        weeks.offering,
        week_number,
        count(*) filter (where due_day < 7 * week_number) as due_item_count,
        coalesce(sum(weight) filter (where due_day < 7 * week_number), 0)::double as due_weight_share,
        min(due_day) filter (where due_day >= 7 * week_number) - 7 * week_number as next_due_days,
    from weeks
    left join assessments on weeks.offering = assessments.offering and not is_exam
    group by weeks.offering, week_number
)

select
    'oulad' as source,
    course_offering_key || ':' || week_number as course_week_key,
    course_offering_key,
    course_key,
    'oulad:open_university' as program_key,
    term_key,
    week_number,
    starts_on + 7 * week_number as as_of_on,
    7.0 * week_number / module_presentation_length as elapsed_share,
    coalesce(sum(registered) over so_far, 0)::integer as registered_count,
    coalesce(sum(unregistered) over so_far, 0)::integer as unregistered_count,
    registered_count - unregistered_count as enrolled_count,
    due_item_count::integer as due_item_count,
    due_weight_share,
    next_due_days,
from weeks
left join changes using (offering, week_number)
left join due using (offering, week_number)
where starts_on + 7 * week_number - 1 <= getvariable('last_on')
window so_far as (partition by offering order by week_number);

---------- learner × course × week, as of the end of the week

create temp table weekly as
with activity as (
    select
        enrollment,
        week_of(day) as week_number,
        sum(click_count)::integer as clicks,
        sum(click_count) filter (where day < 0)::integer as before_start,
        sum(reading)::integer as reading,
        sum(quiz)::integer as quiz,
        sum(discussion)::integer as discussion,
        sum(team)::integer as team,
        sum(navigation)::integer as navigation,
        sum(other)::integer as other,
        count(*)::integer as active_days,
        min(day) as first_day,
        max(day) as last_day,
    from daily
    group by all
),

attempts as (
    select
        submissions.*,
        greatest(-3, week_of(submitted_on - starts_on)) as submitted_week,
        greatest(submitted_week, week_of(due_day)) as due_week,
        greatest(-3, week_of(score_known_on - starts_on)) as scored_week,
    from submissions
    join enrollments using (enrollment)
    where not is_exam
),

submitted as (
    select
        enrollment,
        submitted_week as week_number,
        count(*)::integer as submitted,
        count(*) filter (where is_carried_over)::integer as carried_over,
        count(*) filter (where lead_days < 0)::integer as late,
        sum(lead_days) filter (where not is_carried_over)::integer as lead_days,
        count(lead_days) filter (where not is_carried_over)::integer as lead_items,
        max(submitted_on) filter (where not is_carried_over) as last_submitted_on,
    from attempts
    group by all
),

due as (
    select
        enrollment,
        due_week as week_number,
        count(*)::integer as due_submitted,
        count(*) filter (where lead_days >= 0)::integer as on_time,
    from attempts
    where due_day is not null
    group by all
),

scored as (
    select
        enrollment,
        scored_week as week_number,
        count(*)::integer as scored,
        sum(score_share::decimal(18, 9)) as score_share,
        sum(weight) as scored_weight,
        sum((weight * score_share::decimal(18, 9))::decimal(18, 9)) as earned_weight,
        arg_max(score_share, (score_known_on, id_assessment::varchar)) as last_score_share,
    from attempts
    where score_share is not null
    group by all
),

earlier_events as (
    select enrollment, greatest(-3, week_of(registered_on - starts_on)) as week_number, 1 as courses, 0 as passed, 0 as failed,
    from earlier
    union all
    select
        enrollment,
        greatest(-3, week_of(outcome_known_on - starts_on)),
        0,
        (outcome in ('pass', 'distinction'))::integer,
        (outcome in ('fail', 'withdrawn'))::integer,
    from earlier
    where outcome is not null
),

before as (
    select enrollment, week_number, sum(courses)::integer as courses, sum(passed)::integer as passed, sum(failed)::integer as failed,
    from earlier_events
    group by all
),

-- From four weeks before the first row, for the sums over four weeks.
spine as (
    select enrollment, offering, first_week, unnest(range(-3, last_week + 1))::integer as week_number,
    from enrollments
    join (select offering, max(week_number) as last_week from marts.mart_course_week join courses using (course_offering_key) group by all)
        using (offering)
    where registered_on is not null
)

select
    enrollment,
    offering,
    first_week,
    week_number,
    sum(clicks) over so_far::integer as click_count,
    clicks as last_week_click_count,
    sum(clicks) over four_weeks::integer as last_four_weeks_click_count,
    sum(before_start) over so_far::integer as before_start_click_count,
    sum(reading) over so_far::integer as reading,
    sum(quiz) over so_far::integer as quiz,
    sum(discussion) over so_far::integer as discussion,
    sum(team) over so_far::integer as team,
    sum(navigation) over so_far::integer as navigation,
    sum(other) over so_far::integer as other,
    sum(active_days) over so_far::integer as active_days,
    active_days as last_week_active_days,
    sum(active_days) over four_weeks::integer as last_four_weeks_active_days,
    min(first_day) over so_far as first_activity_day,
    max(last_day) over so_far as last_activity_day,
    sum(submitted) over so_far::integer as submitted,
    sum(carried_over) over so_far::integer as carried_over,
    sum(late) over so_far::integer as late,
    sum(lead_days) over so_far::integer as lead_days,
    sum(lead_items) over so_far::integer as lead_items,
    max(last_submitted_on) over so_far as last_submitted_on,
    sum(due_submitted) over so_far::integer as due_submitted,
    sum(on_time) over so_far::integer as on_time,
    sum(scored) over so_far::integer as scored,
    sum(score_share) over so_far as score_share,
    sum(scored_weight) over so_far as scored_weight,
    sum(earned_weight) over so_far as earned_weight,
    last_value(last_score_share ignore nulls) over so_far as last_score_share,
    sum(courses) over so_far::integer as courses,
    sum(passed) over so_far::integer as passed,
    sum(failed) over so_far::integer as failed,
from spine
left join activity using (enrollment, week_number)
left join submitted using (enrollment, week_number)
left join due using (enrollment, week_number)
left join scored using (enrollment, week_number)
left join before using (enrollment, week_number)
window
    so_far as (partition by enrollment order by week_number rows unbounded preceding),
    four_weeks as (partition by enrollment order by week_number rows 3 preceding)
qualify week_number >= first_week;

create table marts.mart_learner_course_week as
with ranked as (
    select
        enrollment,
        week_number,
        percent_rank() over (partition by offering, week_number order by coalesce(weekly.click_count, 0)) as clicks,
        percent_rank() over (partition by offering, week_number order by coalesce(weekly.active_days, 0)) as active_days,
        percent_rank() over (partition by offering, week_number order by coalesce(earned_weight, 0)) as earned,
    from weekly
    join enrollments using (enrollment, offering)
    where coalesce(unregistered_on >= enrollments.starts_on + 7 * week_number, true)
)

select
    'oulad' as source,
    course_enrollment_key,
    learner_key,
    course_offering_key,
    weeks.course_key,
    weeks.program_key,
    weeks.term_key,
    week_number,
    as_of_on,
    coalesce(unregistered_on >= as_of_on, true) as is_enrolled,
    elapsed_share,
    learners.gender,
    learners.age_band,
    null::integer as birth_year,
    null::varchar as country,
    learners.region,
    learners.education_level,
    null::varchar as employment_status,
    learners.deprivation_band,
    learners.has_disability,
    studied_credits,
    previous_attempt_count,
    (-registered_day)::integer as registration_lead_days,
    coalesce(courses, 0)::integer as earlier_course_count,
    coalesce(passed, 0)::integer as earlier_passed_course_count,
    coalesce(failed, 0)::integer as earlier_failed_course_count,
    coalesce(click_count, 0)::integer as click_count,
    coalesce(last_week_click_count, 0)::integer as last_week_click_count,
    coalesce(last_four_weeks_click_count, 0)::integer as last_four_weeks_click_count,
    coalesce(before_start_click_count, 0)::integer as before_start_click_count,
    null::integer as video_click_count,
    coalesce(reading, 0)::integer as reading_click_count,
    null::integer as practice_click_count,
    coalesce(quiz, 0)::integer as quiz_click_count,
    null::integer as assignment_click_count,
    coalesce(discussion, 0)::integer as discussion_click_count,
    coalesce(team, 0)::integer as team_click_count,
    coalesce(navigation, 0)::integer as navigation_click_count,
    coalesce(other, 0)::integer as other_click_count,
    coalesce(weekly.active_days, 0)::integer as active_days,
    coalesce(last_week_active_days, 0)::integer as last_week_active_days,
    coalesce(last_four_weeks_active_days, 0)::integer as last_four_weeks_active_days,
    null::integer as task_days,
    null::double as learning_minutes,
    null::double as last_week_learning_minutes,
    null::double as last_four_weeks_learning_minutes,
    first_activity_day,
    7 * week_number - last_activity_day as since_last_activity_days,
    due_item_count,
    due_weight_share,
    next_due_days,
    coalesce(submitted, 0)::integer as submitted_item_count,
    coalesce(carried_over, 0)::integer as carried_over_item_count,
    coalesce(late, 0)::integer as late_item_count,
    (due_item_count - coalesce(due_submitted, 0))::integer as missing_item_count,
    coalesce(due_submitted, 0) / nullif(due_item_count, 0) as submitted_share,
    coalesce(on_time, 0) / nullif(due_item_count, 0) as on_time_share,
    lead_days / nullif(lead_items, 0) as mean_submission_lead_days,
    (as_of_on - last_submitted_on)::integer as since_last_submission_days,
    coalesce(scored, 0)::integer as scored_item_count,
    score_share::double / scored as mean_score_share,
    last_score_share,
    earned_weight::double / nullif(scored_weight::double, 0) as weighted_score_share,
    coalesce(earned_weight::double, 0) / nullif(due_weight_share, 0) as earned_share,
    ranked.clicks as click_rank_share,
    ranked.active_days as active_days_rank_share,
    ranked.earned as earned_rank_share,
from weekly
join enrollments using (enrollment)
join marts.mart_course_week as weeks using (course_offering_key, week_number)
join learners using (learner_key)
left join ranked using (enrollment, week_number);

---------- course × term

create table marts.mart_course_term as
with content as (
    select
        offering,
        count(*)::integer as items,
        count(*) filter (where kind = 'reading')::integer as reading,
        count(*) filter (where kind = 'quiz')::integer as quiz,
        count(*) filter (where kind = 'discussion')::integer as discussion,
        count(*) filter (where kind = 'team')::integer as team,
        count(*) filter (where kind = 'navigation')::integer as navigation,
        count(*) filter (where kind = 'other')::integer as other,
    from sites
    group by offering
),

graded as (
    select
        offering,
        count(*) filter (where not is_exam)::integer as items,
        bool_or(is_exam) as has_final_exam,
        min(due_day) filter (where not is_exam) as first_due_day,
        sum(weight) filter (where not is_exam)::double as weight,
        sum(weight) filter (where assessment_type = 'CMA')::double as quiz_weight,
        sum(weight) filter (where assessment_type = 'TMA')::double as staff_weight,
        max(weight) filter (where not is_exam)::double as largest_weight,
    from assessments
    group by offering
),

results as (
    select
        course_offering_key,
        count(*)::integer as learner_count,
        count(*) filter (where has_activity)::integer as active_learner_count,
        median(click_count) as median_click_count,
        median(active_days) as median_active_days,
        avg(is_first_item_on_time::integer) as first_item_on_time_share,
        avg(submitted_share::decimal(18, 9)) as mean_submitted_share,
        avg(on_time_share::decimal(18, 9)) as mean_on_time_share,
        median(weighted_score_share) as median_weighted_score_share,
        count(*) filter (where outcome = 'distinction')::integer as distinction_count,
        count(*) filter (where outcome = 'pass')::integer as pass_count,
        count(*) filter (where outcome = 'fail')::integer as fail_count,
        count(*) filter (where outcome = 'withdrawn')::integer as withdrawn_count,
        count(*) filter (where is_outcome_final)::integer as final_outcome_count,
        count(*) filter (where outcome_state in ('running', 'not_told'))::integer as running_count,
        avg(is_passed::integer) filter (where is_outcome_final) as passed_share,
        avg(is_withdrawn::integer) filter (where is_outcome_final) as withdrawn_share,
    from marts.mart_learner_course
    group by course_offering_key
),

-- Of the terms that began before a presentation, those in which the module was offered too.
offered as (
    select
        later.offering,
        count(distinct past.starts_on) filter (where past.course_key = later.course_key)
        / count(distinct past.starts_on) as offered_terms_share,
    from courses as later
    join courses as past on later.starts_on > past.starts_on
    group by later.offering
)

select
    'oulad' as source,
    course_offering_key,
    course_key,
    'oulad:open_university' as program_key,
    term_key,
    starts_on,
    ends_on,
    module_presentation_length as length_days,
    offered_terms_share,
    content.items as content_item_count,
    0 as video_item_count,
    reading as reading_item_count,
    0 as practice_item_count,
    quiz as quiz_item_count,
    0 as assignment_item_count,
    discussion as discussion_item_count,
    team as team_item_count,
    navigation as navigation_item_count,
    other as other_item_count,
    coalesce(graded.items, 0) as graded_item_count,
    coalesce(has_final_exam, false) as has_final_exam,
    first_due_day,
    coalesce(quiz_weight, 0) / nullif(weight, 0) as quiz_weight_share,
    coalesce(staff_weight, 0) / nullif(weight, 0) as staff_graded_weight_share,
    largest_weight / nullif(weight, 0) as max_item_weight,
    results.* exclude (course_offering_key),
from courses
left join content using (offering)
left join graded using (offering)
left join offered using (offering)
left join results using (course_offering_key);

---------- course

create table marts.mart_course as
with terms as (
    select
        course_key,
        count(*)::integer as offering_count,
        min(starts_on) as first_starts_on,
        max(starts_on) as last_starts_on,
        avg(length_days) as mean_length_days,
        avg(graded_item_count) as mean_graded_item_count,
        bool_or(has_final_exam) as has_final_exam,
        arg_max(offered_terms_share, starts_on) as offered_terms_share,
    from marts.mart_course_term
    group by course_key
),

results as (
    select
        course_key,
        count(distinct learner_key)::integer as learner_count,
        count(*)::integer as enrollment_count,
        avg((previous_attempt_count > 0)::integer) as repeated_attempt_share,
        median(click_count) as median_click_count,
        median(active_days) as median_active_days,
        median(weighted_score_share) as median_weighted_score_share,
        count(*) filter (where is_outcome_final)::integer as final_outcome_count,
        count(*) filter (where outcome_state in ('running', 'not_told'))::integer as running_count,
        avg(is_passed::integer) filter (where is_outcome_final) as passed_share,
        avg(is_withdrawn::integer) filter (where is_outcome_final) as withdrawn_share,
    from marts.mart_learner_course
    group by course_key
),

-- How the last presentation of each module is made.
latest as (
    select * from courses
    qualify row_number() over (partition by course_key order by starts_on desc) = 1
),

content as (
    select
        offering,
        count(*) as sites,
        count(*) filter (where kind = 'reading') as readings,
    from sites
    where kind <> 'navigation'
    group by offering
),

weights as (
    select
        offering,
        assessment_type = 'CMA' as is_quiz,
        greatest(due_day // 7 + 1, 1) as week,
        (weight / nullif(sum(weight) over (partition by offering)::double, 0))::decimal(18, 9) as share,
    from assessments
    where not is_exam
),

weeks as (
    select offering, week, count(*) as items, sum(share) as share
    from weights
    group by offering, week
),

pace as (
    select
        offering,
        sqrt(sum(items * items) * any_value(week_count) - sum(items) ^ 2) / sum(items) as graded_weekly_variation,
        -- Of decimals, so that what is equal in all weeks has no variation.
        sqrt((sum(share * share) * any_value(week_count) - sum(share)::decimal(18, 9) * sum(share)::decimal(18, 9))::double)
        / nullif(sum(share), 0)::double as graded_weight_weekly_variation,
        sum(items * week) / sum(items) / any_value(week_count) as graded_centroid,
        sum(share * week)::double / nullif(sum(share), 0)::double / any_value(week_count) as graded_weight_centroid,
    from weeks
    join courses using (offering)
    group by offering
),

graded as (
    select
        offering,
        count(*) as items,
        count(share) as weighed,
        count(*) filter (where is_quiz) as quizzes,
        sum(if(is_quiz, share, share * 0)) as quiz_share,
        sum(if(is_quiz, share * 0, share)) as staff_share,
        max(share)::double as max_share,
        count(*) filter (where share < 0.05) as small,
        count(*) filter (where share >= 0.05 and share < 0.15) as medium,
        count(*) filter (where share >= 0.15) as large,
    from weights
    group by offering
)

select
    'oulad' as source,
    course_key,
    'oulad:open_university' as program_key,
    course_offering_key as latest_course_version_key,
    course_key[7:] as course_name,
    'module' as course_type,
    terms.* exclude (course_key),
    quizzes > 0 as has_quiz,
    quizzes < graded.items as has_staff_graded,
    quizzes < graded.items as has_hands_on,
    quizzes / graded.items as quiz_item_share,
    (graded.items - quizzes) / graded.items as staff_graded_item_share,
    quiz_share::double as quiz_weight_share,
    staff_share::double as staff_graded_weight_share,
    if(weighed > 0, 0, null)::double as peer_graded_weight_share,
    peer_graded_weight_share as programming_weight_share,
    peer_graded_weight_share as plugin_weight_share,
    peer_graded_weight_share as discussion_weight_share,
    peer_graded_weight_share as team_weight_share,
    max_share as max_item_weight,
    small / nullif(weighed, 0) as small_weight_share,
    medium / nullif(weighed, 0) as medium_weight_share,
    large / nullif(weighed, 0) as large_weight_share,
    readings / sites as ungraded_reading_share,
    (sites - readings) / sites as ungraded_other_share,
    (sites + graded.items)::integer as item_count,
    graded.items::integer as assignment_count,
    week_count,
    readings / week_count as reading_per_week,
    designed.first_due_day,
    graded.items / week_count as graded_per_week,
    if(weighed > 0, 1 / week_count, null) as graded_weight_per_week,
    pace.* exclude (offering),
    results.* exclude (course_key),
from terms
join results using (course_key)
join latest using (course_key)
join content using (offering)
join graded using (offering)
join pace using (offering)
join (select course_offering_key, first_due_day from marts.mart_course_term) as designed using (course_offering_key);

---------- learner × program

create table marts.mart_learner_program as
with terms as (
    select distinct term_key, starts_on from courses
),

starters as (
    select learner_key, min(term_key) as first_term_key from enrollments group by learner_key
),

taken as (
    select
        learner_key,
        first_term_key,
        first_term.starts_on as first_term_starts_on,
        next_year.term_key as next_term_key,
        -- The last of the first 14 days, in which a course may be dropped.
        next_year.starts_on + 13 as next_year_last_drop_on,
        taken.* exclude (learner_key),
        taken.term_key = first_term_key as is_first,
    from starters
    join marts.mart_learner_course as taken using (learner_key)
    join terms as first_term on first_term_key = first_term.term_key
    left join terms as next_year on next_year.starts_on = first_term.starts_on + interval 1 year
)

select
    'oulad' as source,
    learner_key || ':open_university' as program_enrollment_key,
    learner_key,
    'oulad:open_university' as program_key,
    first_term_key,
    'open_university' as program_id,
    2 as terms_per_year,
    if(right(first_term_key, 1) = 'B', 'February', 'October') as season,
    any_value(gender) as gender,
    any_value(age_band) as age_band,
    null::integer as birth_year,
    null::varchar as country,
    any_value(region) as region,
    any_value(education_level) as education_level,
    null::varchar as employment_status,
    any_value(deprivation_band) as deprivation_band,
    any_value(has_disability) as has_disability,
    null::date as admitted_on,
    min(registered_on) filter (where is_first) as first_registered_on,
    (any_value(first_term_starts_on) - min(registered_on) filter (where is_first))::integer as registration_lead_days,
    count(*) filter (where is_first)::integer as courses_enrolled_count,
    -- The same in all rows: the program's.
    quantile_cont(courses_enrolled_count, 0.25) over () as program_load_q25,
    quantile_cont(courses_enrolled_count, 0.5) over () as program_load_median,
    quantile_cont(courses_enrolled_count, 0.75) over () as program_load_q75,
    program_load_q75 - program_load_q25 as program_load_iqr,
    max(studied_credits) filter (where is_first) as first_term_studied_credits,
    count(*) filter (where is_first and is_passed)::integer as first_term_passed_course_count,
    count(*) filter (where is_first and outcome = 'fail')::integer as first_term_failed_course_count,
    count(*) filter (where is_first and (is_withdrawn or last_dropped_on >= first_term_starts_on))::integer
        as courses_dropped_count,
    sum(click_count) filter (where is_first)::integer as first_term_click_count,
    count(*)::integer as course_count,
    count(*) filter (where is_passed)::integer as passed_course_count,
    any_value(next_term_key) as next_term_key,
    any_value(next_year_last_drop_on) + 1 as retention_known_on,
    if(any_value(next_year_last_drop_on) < getvariable('last_on'), bool_or(term_key = next_term_key), null)
        as is_reregistered_next_year,
from taken
group by learner_key, first_term_key;

---------- program

create table marts.mart_program as
select
    'oulad' as source,
    'oulad:open_university' as program_key,
    'The Open University' as program_name,
    'The Open University' as university_name,
    'university' as program_type,
    null::varchar as level,
    2 as terms_per_year,
    null::integer as terms_may_be_missed,
    (select any_value(program_load_q25) from marts.mart_learner_program) as program_load_q25,
    (select any_value(program_load_median) from marts.mart_learner_program) as program_load_median,
    (select any_value(program_load_q75) from marts.mart_learner_program) as program_load_q75,
    (select any_value(program_load_iqr) from marts.mart_learner_program) as program_load_iqr,
    (select count(distinct course_key) from courses)::integer as course_count,
    (select count(distinct term_key) from courses)::integer as term_count,
    (select min(starts_on) from courses) as first_starts_on,
    (select max(ends_on) from courses) as last_ends_on,
    (select count(*) from marts.mart_learner_program)::integer as learner_count,
    count(*)::integer as enrollment_count,
    (select avg(courses_enrolled_count) from marts.mart_learner_program) as mean_first_term_course_count,
    count(*) filter (where is_outcome_final)::integer as final_outcome_count,
    count(*) filter (where outcome_state in ('running', 'not_told'))::integer as running_count,
    avg(is_passed::integer) filter (where is_outcome_final) as passed_share,
    avg(is_withdrawn::integer) filter (where is_outcome_final) as withdrawn_share,
    (select count(is_reregistered_next_year) from marts.mart_learner_program)::integer as followed_learner_count,
    (select avg(is_reregistered_next_year::integer) from marts.mart_learner_program) as reregistered_next_year_share,
    0 as retention_followed_learner_count,
from marts.mart_learner_course;
