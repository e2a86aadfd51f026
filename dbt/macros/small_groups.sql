{#
    Figures of groups at several levels, from which nobody can work out those of a small group.

    A group has figures from `minimum_group_size` learners. An outcome that fewer than these had, or did not have, has
    no count; its share is told as a bound in steps of ten percent. A sum minus its shown parts must not tell what was
    withheld: in every group whose figure is shown, what is withheld below it stays free over all that the rule itself
    tells, 0 to 9. Where it would not, the next group beside it is withheld too, or, where there is none, the group
    above. Levels are nested: each group is part of one group of the next level, and those of the last level are parts
    of a sum that is taken as known.
#}

{# Fewest learners of a group with published figures: the setting minimum_group_size, which the runs hand over. #}
{% macro minimum_group_size() %}
    {% do return(var("minimum_group_size", env_var("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "10")) | int) %}
{% endmacro %}


{#
    CTEs of which the last, `protected`, has everything in it.

    units: relation with a row for each learner (or learner in a course) and the columns `source`, `learner_key`, those
        of all keys, and what the measures read.
    levels: from the finest on, each {"name": …, "keys": […]}: the columns that tell its groups apart within a source.
        The keys of a level determine those of the next.
    measures: each {"name": …, "value": aggregate} with, for an outcome, "rest": how many are without it and "of": its
        denominator; "within": the measure before it without which it is not shown; "forced": an aggregate that
        withholds it; "is_bounded": false where the rest is not all others, so that no bound is told; "is_listed": false
        where groups of the first level that are withheld have no row.
    aggregates: further columns of a group, name: aggregate.
    within: key columns of the known sum that groups of the last level are parts of.

    Every CTE but the first reads the one before it, and once: an engine that puts the text of a CTE in place of its name
    (Spark) would otherwise have a plan that doubles with each step.
#}
{% macro protected_groups(units, levels, measures, aggregates={}, within=[]) %}
    {%- set sums = levels + [{"keys": within}] %}
    {%- set all_keys = [] %}
    {%- for level in sums %}
    {%- for key in level["keys"] if key not in all_keys %}{% do all_keys.append(key) %}{% endfor %}
    {%- endfor %}
    {%- set columns = ["level_number"] %}
    {%- for _ in sums %}{% do columns.append("group_" ~ loop.index0) %}{% endfor %}
    {%- do columns.append("people_count") %}
    {%- for measure in measures %}
    {%- do columns.append(measure["name"] ~ "_value") %}
    {%- if measure["rest"] %}{% do columns.extend([measure["name"] ~ "_rest", measure["name"] ~ "_of"]) %}{% endif %}
    {%- if measure["forced"] %}{% do columns.append("is_" ~ measure["name"] ~ "_forced") %}{% endif %}
    {%- endfor %}
counted_groups as (
    {%- for level in levels %}
    {%- set number = loop.index0 %}
    {%- set keys = [] %}
    {%- for higher in sums[number:] %}
    {%- for key in higher["keys"] if key not in keys %}{% do keys.append(key) %}{% endfor %}
    {%- endfor %}
    select
        source,
        '{{ level["name"] }}' as level,
        {{ number }} as level_number,
        {%- for key in all_keys %}
        {{ key if key in keys else "null" }} as {{ key }},
        {%- endfor %}
        {%- for sum in sums %}
        {{ _group_text(sum["keys"]) if loop.index0 >= number else "null" }} as text_{{ loop.index0 }},
        {%- endfor %}
        count(distinct learner_key) as people_count
        {%- for measure in measures %},
        coalesce({{ measure["value"] }}, 0) as {{ measure["name"] }}_value
        {%- if measure["rest"] %},
        coalesce({{ measure["rest"] }}, 0) as {{ measure["name"] }}_rest,
        coalesce({{ measure["of"] }}, 0) as {{ measure["name"] }}_of
        {%- endif %}
        {%- if measure["forced"] %},
        {{ measure["forced"] }} as is_{{ measure["name"] }}_forced
        {%- endif %}
        {%- endfor %}
        {%- for name, aggregate in aggregates.items() %},
        {{ aggregate }} as {{ name }}
        {%- endfor %}
    from {{ units }}
    group by source{% for key in keys %}, {{ key }}{% endfor %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),
numbered_groups as (
    select
        *,
        {%- for _ in sums %}
        dense_rank() over (order by text_{{ loop.index0 }}) as group_{{ loop.index0 }}{{ "," if not loop.last }}
        {%- endfor %}
    from counted_groups
),

judged_groups as (
    select
        {%- for column in columns %}
        {{ column }}{{ "," if not loop.last }}
        {%- endfor %}
    from numbered_groups
),
    {%- set before = namespace(name="judged_groups") %}
    {% for measure in measures %}
    {%- for number in range(levels | length) %}
{{ _judged(measure, number, before.name) }},
    {%- set before.name = measure["name"] ~ "_" ~ number %}
    {% endfor %}
{{ _why(measure, levels | length, columns, before.name) }},
    {%- set before.name = measure["name"] ~ "_why" %}
    {%- do columns.append(measure["name"] ~ "_why") %}
    {% endfor %}
protected as (
    select
        groups.source,
        groups.level,
        groups.level_number,
        {%- for key in all_keys + (aggregates | list) %}
        groups.{{ key }},
        {%- endfor %}
        {%- for measure in measures %}
        groups.{{ measure["name"] }}_value,
        {%- if measure["rest"] %}
        groups.{{ measure["name"] }}_rest,
        groups.{{ measure["name"] }}_of,
        {%- endif %}
        {%- if measure["within"] %}
        coalesce(
            judged.{{ measure["name"] }}_why, case when judged.{{ measure["within"] }}_why is not null then 'outer' end
        ) as {{ measure["name"] }}_why
        {%- else %}
        judged.{{ measure["name"] }}_why
        {%- endif %}
        {{- "," if not loop.last }}
        {%- endfor %}
    from numbered_groups as groups
    inner join {{ before.name }} as judged
        on
            groups.level_number = judged.level_number
            {%- for _ in levels %}
            and groups.group_{{ loop.index0 }} = judged.group_{{ loop.index0 }}
            {%- endfor %}
)
{%- endmacro %}


{% macro _group_text(keys) -%}
    source
    {%- for key in keys %} || '|' || coalesce(cast({{ key }} as {{ dbt.type_string() }}), ''){% endfor -%}
{%- endmacro %}


{# How far a withheld figure must be free: 0 to 9 of an outcome, 1 to 9 of a group that is known to be there. #}
{% macro _width(measure) -%}
    {{ minimum_group_size() - (1 if measure["rest"] is defined or not measure.get("is_listed", true) else 2) }}
{%- endmacro %}


{#
    One measure at one level: which groups are withheld for themselves (`is_first`) and which beside them (`is_beside`),
    and how far down and up the value of each may lie of what it is, for all that is told: where the groups that are
    withheld in it are (`room_down`, `room_up`), and where all in it are (`all_down`, `all_up`). The columns end in the
    number of the level; in rows of other levels they are false and null.
#}
{% macro _judged(measure, number, before) %}
    {%- set name, minimum, any = measure["name"], minimum_group_size(), 1000000000 -%}
    {%- set is_outcome = measure["rest"] is defined -%}
    {%- set lowest = 0 if is_outcome or not (measure.get("is_listed", true) or number) else 1 -%}
    {%- set width = _width(measure) | int -%}
    {%- set value, rest = name ~ "_value", (name ~ "_rest") if is_outcome else any -%}
    {%- set is_here = "level_number = " ~ number ~ " and " ~ name ~ ("_of" if is_outcome else "_value") ~ " > 0" -%}
{{ name }}_{{ number }} as (
    select
        *,
        -- Beside those withheld for themselves, until these are free.
        {{ is_here }} and not is_first_{{ number }} and has_first_{{ number }} = 1
        and not (
            count_before_{{ number }} >= 2
            and down_before_{{ number }} >= {{ width }}
            and up_before_{{ number }} >= {{ width }}
        ) as is_beside_{{ number }}
    from (
        select
            *,
            max(case when is_first_{{ number }} then 1 else 0 end) over (
                partition by group_{{ number + 1 }}
            ) as has_first_{{ number }},
            count(case when {{ is_here }} then 1 end) over before as count_before_{{ number }},
            coalesce(sum(room_down_{{ number }}) over before, 0) as down_before_{{ number }},
            coalesce(sum(room_up_{{ number }}) over before, 0) as up_before_{{ number }}
        from (
            select
                *,
                {%- for end in ["down", "up"] %}
                {%- set told, below = "told_" ~ end ~ "_" ~ number, "below_" ~ end ~ "_" ~ number %}
                {%- set within = "within_" ~ end ~ "_" ~ number %}
                {%- if number %}
                case
                    when not ({{ is_here }}) then null
                    when is_small_{{ number }} then least({{ told }}, {{ within }})
                    else {{ within }}
                end as all_{{ end }}_{{ number }},
                case
                    when not ({{ is_here }}) then null
                    when not is_first_{{ number }} or {{ below }} is null then {{ within }}
                    when is_small_{{ number }} then least({{ told }}, {{ below }})
                    else {{ below }}
                end as room_{{ end }}_{{ number }}{{ "," if not loop.last }}
                {%- else %}
                case when {{ is_here }} then {{ told }} end as all_{{ end }}_{{ number }},
                case when {{ is_here }} then {{ told }} end as room_{{ end }}_{{ number }}{{ "," if not loop.last }}
                {%- endif %}
                {%- endfor %}
            from (
                select
                    *,
                    {{ is_here }} and (
                        is_outer_{{ number }} or is_small_{{ number }}
                        {%- if number %}
                        or below_count_{{ number }} > 0 and not (
                            below_count_{{ number }} >= 2
                            and below_down_{{ number }} >= {{ width }}
                            and below_up_{{ number }} >= {{ width }}
                        )
                        {%- endif %}
                    ) as is_first_{{ number }}
                from (
                    select
                        *,
                        {{ measure["within"] ~ "_why is not null" if measure["within"] else "false" }}
                        {%- if measure["forced"] %} or coalesce(is_{{ name }}_forced, false){% endif %} as is_outer_{{ number }},
                        {%- if is_outcome %}
                        {{ value }} < {{ minimum }} or {{ rest }} < {{ minimum }} as is_small_{{ number }},
                        {%- else %}
                        {{ value }} < {{ minimum }} or people_count < {{ minimum }} as is_small_{{ number }},
                        {%- endif %}
                        {%- if number %}
                        {%- set is_withheld = "is_first_" ~ (number - 1) ~ " or is_beside_" ~ (number - 1) %}
                        count(case when {{ is_withheld }} then 1 end) over below as below_count_{{ number }},
                        {%- for end in ["down", "up"] %}
                        sum(case when {{ is_withheld }} then room_{{ end }}_{{ number - 1 }} end) over below
                            as below_{{ end }}_{{ number }},
                        sum(all_{{ end }}_{{ number - 1 }}) over below as within_{{ end }}_{{ number }},
                        {%- endfor %}
                        {%- endif %}
                        greatest(least(
                            {{ value }} - case when {{ value }} < {{ minimum }} then {{ lowest }} else {{ minimum }} end,
                            case when {{ rest }} < {{ minimum }} then {{ minimum - 1 }} - {{ rest }} else {{ any }} end
                        ), 0) as told_down_{{ number }},
                        greatest(least(
                            case when {{ value }} < {{ minimum }} then {{ minimum - 1 }} - {{ value }} else {{ any }} end,
                            {{ rest }} - case when {{ rest }} < {{ minimum }} then 0 else {{ minimum }} end
                        ), 0) as told_up_{{ number }}
                    from {{ before }}
                    {%- if number %}
                    window below as (partition by group_{{ number }})
                    {%- endif %}
                ) as told_groups
            ) as first_groups
        ) as free_groups
        window before as (
            partition by group_{{ number + 1 }}
            order by
                case when is_first_{{ number }} then 0 else 1 end,
                case when room_down_{{ number }} >= {{ width }} and room_up_{{ number }} >= {{ width }} then 0 else 1 end,
                least({{ value }}, {{ any }}) + least({{ rest }}, {{ any }}),
                group_{{ number }}
            rows between unbounded preceding and 1 preceding
        )
    ) as ordered_groups
)
{%- endmacro %}


{#
    Why a group's figure is withheld: outer (what it is a part of is), small, or beside (it would give away another, or
    follows from others); null: it is shown. Groups within one that is withheld beside others are withheld with it.
#}
{% macro _why(measure, level_count, columns, before) %}
    {%- set width, last = _width(measure) | int, level_count - 1 -%}
    {%- set is_last_withheld = "is_first_" ~ last ~ " or is_beside_" ~ last -%}
{{ measure["name"] }}_why as (
    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        case
            -- What is withheld of the known sum is still not free, and there is nothing left to withhold: no bounds.
            when
                is_first_{{ last }} and not is_outer_{{ last }} and known_count >= 2
                and not (known_down >= {{ width }} and known_up >= {{ width }})
                then 'beside'
            {%- for number in range(level_count) %}
            when is_first_{{ number }} and is_outer_{{ number }} then 'outer'
            when is_first_{{ number }} and is_small_{{ number }} then 'small'
            when is_first_{{ number }} or is_closed_{{ number }} = 1 then 'beside'
            {%- endfor %}
        end as {{ measure["name"] }}_why
    from (
        select
            *,
            {%- for number in range(level_count) %}
            max(case when is_beside_{{ number }} then 1 else 0 end) over (
                partition by group_{{ number }}
            ) as is_closed_{{ number }},
            {%- endfor %}
            count(case when {{ is_last_withheld }} then 1 end) over known_sum as known_count,
            sum(case when {{ is_last_withheld }} then room_down_{{ last }} end) over known_sum as known_down,
            sum(case when {{ is_last_withheld }} then room_up_{{ last }} end) over known_sum as known_up
        from {{ before }}
        window known_sum as (partition by group_{{ level_count }})
    ) as judged_groups
)
{%- endmacro %}


{#
    Columns of a measure of `protected`: its count, for an outcome its share and, where the count is withheld, the
    bound. Rounded to tens and to whole percents where other tables count the same learners by something else, so that
    no sum of this table is a part of theirs.
#}
{% macro shown_measure(measure, is_rounded=false) %}
    {%- set name, minimum = measure["name"], minimum_group_size() -%}
    {%- set is_outcome = measure["rest"] is defined -%}
    case
        when {{ name }}_why is null{% if is_outcome %} and {{ name }}_of > 0{% endif %}
            then {{ rounded_count(name ~ "_value") if is_rounded else "cast(" ~ name ~ "_value as integer)" }}
    end as {{ name }}_count
    {%- if is_outcome %}
    {%- set few = "ceil(cast(" ~ (10 * (minimum - 1)) ~ " as double) / nullif(" ~ name ~ "_of, 0))" -%}
    {%- set is_few = name ~ "_why = 'small' and " ~ name ~ "_value " -%}
    {%- set at_most = is_few ~ "< " ~ minimum ~ " and " ~ name ~ "_rest >= " ~ minimum -%}
    {%- set at_least = is_few ~ ">= " ~ minimum -%}
    {%- if not measure.get("is_bounded", true) %}{% set at_least = "false" %}{% endif %},
    case
        when {{ name }}_why is null
            then {{ "round(" if is_rounded }}cast({{ name }}_value as double) / nullif({{ name }}_of, 0){{ ", 2)" if is_rounded }}
    end as {{ name }}_share,
    case when {{ at_least }} then (10 - {{ few }}) / 10 end as {{ name }}_share_at_least,
    case when {{ at_most }} then {{ few }} / 10 end as {{ name }}_share_at_most,
    case
        when {{ name }}_why is null and {{ name }}_of > 0
            then {{ _percent(name ~ "_value / nullif(cast(" ~ name ~ "_of as double), 0)") }}
        when {{ at_most }} then '<= ' || {{ _percent(few ~ " / 10") }}
        when {{ at_least }} then '>= ' || {{ _percent("(10 - " ~ few ~ ") / 10") }}
    end as {{ name }}_share_told
    {%- endif %}
{%- endmacro %}


{# A number of learners to the next ten. #}
{% macro rounded_count(count) -%}
    cast(10 * round(cast({{ count }} as double) / 10) as integer)
{%- endmacro %}


{% macro _percent(share) -%}
    {{ whole_percent(share) }} || ' %'
{%- endmacro %}


{# The whole percents of a share, as text; of the ends of a range `floor` and `ceil`. #}
{% macro whole_percent(share, ends="round") -%}
    {%- set percents = "round(100 * " ~ share ~ ")" if ends == "round" else ends ~ "(round(100 * " ~ share ~ ", 6))" -%}
    cast(cast({{ percents }} as integer) as {{ dbt.type_string() }})
{%- endmacro %}


{# A further figure of a group, shown where a measure is. #}
{% macro shown_with(measure, expression, name=none) -%}
    case when {{ measure }}_why is null then {{ expression }} end as {{ name or expression }}
{%- endmacro %}


{# Why something of a group is withheld, in words; null: nothing is. The first measure is the size of the group. #}
{% macro withheld_because(measures) -%}
    {%- set minimum = minimum_group_size() -%}
    {%- set size = measures[0]["name"] -%}
    case
        when {{ size }}_why = 'small' then 'fewer than {{ minimum }} learners'
        when {{ size }}_why is not null then 'would give away a group of fewer than {{ minimum }} learners'
        {%- if measures | length > 1 %}
        else nullif(concat_ws(
            '; '
            {%- for measure in measures[1:] %},
            case
                when {{ measure["name"] }}_why = 'small'
                {%- if measure["rest"] is defined %}
                    then '{{ measure["words"] }}: fewer than {{ minimum }} with or without it'
                {%- else %}
                    then '{{ measure["words"] }}: fewer than {{ minimum }} learners'
                {%- endif %}
                when {{ measure["name"] }}_why = 'beside'{% if measure["rest"] %} and {{ measure["name"] }}_of > 0{% endif %}
                    then '{{ measure["words"] }}: would give away a small group'
            end
            {%- endfor %}
        ), '')
        {%- endif %}
    end as withheld_because
{%- endmacro %}


{# Why a figure of a group that is no part of another is withheld; null: it is shown. #}
{% macro why_of_single_group(size, value=none, rest=none) -%}
    {%- set minimum = minimum_group_size() -%}
    case
        when {{ size }} < {{ minimum }} then {{ "'outer'" if value else "'small'" }}
        {%- if value %}
        when {{ value }} < {{ minimum }} or {{ rest }} < {{ minimum }} then 'small'
        {%- endif %}
    end
{%- endmacro %}


{# Age in years, in the bands of the report. #}
{% macro age_band(age_years) -%}
    {%- set starts = [18, 25, 30, 35, 40, 45, 50, 55] -%}
    case
        when {{ age_years }} < {{ starts[0] }} then 'under {{ starts[0] }}'
        {%- for start in starts[1:] %}
        when {{ age_years }} < {{ start }} then '{{ starts[loop.index0] }}-{{ start - 1 }}'
        {%- endfor %}
        when {{ age_years }} >= {{ starts[-1] }} then '{{ starts[-1] }}+'
    end
{%- endmacro %}
