-- Terms of the programs. Grain: one row per source × program × term.
with terms as (
    {{ deduplicated("raw_campus", "terms") }}
),

programs as (
    select * from {{ ref("stg_campus__programs") }}
),

own_terms as (
    select * from terms
    where program_id is not null
),

-- A term of the whole institution is one of every program that has no row of its own for the code.
placed as (
    select
        source,
        program_id,
        term_id,
        season,
        starts_on,
        ends_on,
        drop_deadline_on,
        is_required
    from own_terms

    union all

    select
        terms.source,
        programs.program_id,
        terms.term_id,
        terms.season,
        terms.starts_on,
        terms.ends_on,
        terms.drop_deadline_on,
        terms.is_required
    from terms
    inner join programs
        on terms.source = programs.source
    left join own_terms
        on
            programs.source = own_terms.source
            and programs.program_id = own_terms.program_id
            and terms.term_id = own_terms.term_id
    where
        terms.program_id is null
        and own_terms.term_id is null
)

{{ canonical_select("placed", "terms") }}
