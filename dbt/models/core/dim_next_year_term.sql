-- The terms in which a learner is looked for a year after a first term. Grain: one row per source × program × term ×
-- term a year later.
with terms as (
    select * from {{ ref("dim_term") }}
),

starts as (
    select distinct
        program_key,
        starts_on
    from terms
),

gaps as (
    select
        program_key,
        {{ days_between("lag(starts_on) over (partition by program_key order by starts_on)", "starts_on") }} as gap_days
    from starts
),

-- The window reaches 60 days to both sides, less where terms follow each other quickly, and 30 at least.
reaches as (
    select
        program_key,
        greatest(30, least(60, coalesce({{ quantile("gap_days", 0.5) }} / 2, 60))) as reach_days
    from gaps
    group by program_key
),

programs as (
    select
        program_key,
        bool_or(is_required is not null) as tells_required_terms
    from terms
    group by program_key
),

later_terms as (
    select
        terms.source,
        terms.program_key,
        terms.term_key,
        later.term_key as later_term_key,
        later.starts_on,
        later.last_drop_on,
        coalesce(later.is_required, false) as is_required,
        programs.tells_required_terms,
        reaches.reach_days,
        -- From the day a year after the first one.
        {{ days_between("terms.starts_on", "later.starts_on") }} - 365 as distance_days
    from terms
    inner join terms as later
        on
            terms.program_key = later.program_key
            and terms.starts_on < later.starts_on
    inner join reaches
        on terms.program_key = reaches.program_key
    inner join programs
        on terms.program_key = programs.program_key
),

in_window as (
    select * from later_terms
    where abs(distance_days) <= reach_days
),

-- Where no term starts in the window: the next one that is required, or the next at all where the program tells none.
next_starts as (
    select later_terms.*
    from later_terms
    left join in_window
        on later_terms.term_key = in_window.term_key
    where
        in_window.term_key is null
        and later_terms.distance_days > 0
        and (later_terms.is_required or not later_terms.tells_required_terms)
    qualify later_terms.starts_on = min(later_terms.starts_on) over (partition by later_terms.term_key)
),

candidates as (
    select
        *,
        true as is_in_window
    from in_window

    union all

    select
        *,
        false as is_in_window
    from next_starts
)

select
    source,
    program_key,
    term_key,
    later_term_key,
    is_in_window,
    row_number() over (
        partition by term_key
        order by
            case when is_required then 0 else 1 end,
            abs(distance_days),
            starts_on,
            later_term_key
    ) = 1 as is_next_term,
    last_drop_on
from candidates
