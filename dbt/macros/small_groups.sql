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
    CTEs `level_<n>`, `<measure>_<n>`, `<measure>_<n>_final` and, with everything in it, `protected`.

    units: relation with a row for each learner (or learner in a course) and the columns `source`, `learner_key`, those
        of all keys, and what the measures read.
    levels: from the finest on, each {"name": …, "keys": […]}: the columns that tell its groups apart within a source.
        The keys of a level determine those of the next.
    measures: each {"name": …, "value": aggregate} with, for an outcome, "rest": how many are without it and "of": its
        denominator; "within": the measure without which it is not shown; "forced": an aggregate that withholds it;
        "is_bounded": false where the rest is not all others, so that no bound is told; "is_listed": false where groups
        of the first level that are withheld have no row.
    aggregates: further columns of a group, name: aggregate.
    within: key columns of the known sum that groups of the last level are parts of.
#}
{% macro protected_groups(units, levels, measures, aggregates={}, within=[]) %}
    {%- for level in levels %}
    {%- set number = loop.index0 %}
    {%- set keys = [] %}
    {%- for higher in levels[number:] %}
    {%- for key in higher["keys"] if key not in keys %}{% do keys.append(key) %}{% endfor %}
    {%- endfor %}
    {%- for key in within if key not in keys %}{% do keys.append(key) %}{% endfor %}
level_{{ number }} as (
    select
        source,
        {%- for key in keys %}
        {{ key }},
        {%- endfor %}
        '{{ level["name"] }}' as level,
        {{ _group_text(level["keys"]) }} as group_text,
        {{ _group_text((levels + [{"keys": within}])[number + 1]["keys"]) }} as parent_text,
        count(distinct learner_key) as people_count,
        {%- for measure in measures %}
        coalesce({{ measure["value"] }}, 0) as {{ measure["name"] }}_value,
        {%- if measure["rest"] %}
        coalesce({{ measure["rest"] }}, 0) as {{ measure["name"] }}_rest,
        coalesce({{ measure["of"] }}, 0) as {{ measure["name"] }}_of,
        {%- endif %}
        {%- if measure["forced"] %}
        {{ measure["forced"] }} as is_{{ measure["name"] }}_forced,
        {%- endif %}
        {%- endfor %}
        {%- for name, aggregate in aggregates.items() %}
        {{ aggregate }} as {{ name }},
        {%- endfor %}
        {{ number }} as level_number
    from {{ units }}
    group by source{% for key in keys %}, {{ key }}{% endfor %}
),
    {% endfor %}
    {%- for measure in measures %}
    {%- for number in range(levels | length) %}
{{ _judged(measure, number) }},
    {% endfor %}
    {%- for number in range((levels | length) - 1, -1, -1) %}
{{ _final(measure, number, number == (levels | length) - 1) }},
    {% endfor %}
    {%- endfor %}
protected as (
    {%- set all_keys = [] %}
    {%- for level in levels + [{"keys": within}] %}
    {%- for key in level["keys"] if key not in all_keys %}{% do all_keys.append(key) %}{% endfor %}
    {%- endfor %}
    {%- for level in levels %}
    {%- set number = loop.index0 %}
    {%- set there = [] %}
    {%- for higher in levels[number:] + [{"keys": within}] %}{% do there.extend(higher["keys"]) %}{% endfor %}
    select
        groups.source,
        groups.level,
        groups.level_number,
        {%- for key in all_keys %}
        {{ "groups." ~ key if key in there else "null" }} as {{ key }},
        {%- endfor %}
        {%- for name in aggregates %}
        groups.{{ name }},
        {%- endfor %}
        {%- for measure in measures %}
        groups.{{ measure["name"] }}_value,
        {%- if measure["rest"] %}
        groups.{{ measure["name"] }}_rest,
        groups.{{ measure["name"] }}_of,
        {%- endif %}
        {%- if measure["within"] %}
        coalesce({{ measure["name"] }}.why, case when {{ measure["within"] }}.why is not null then 'outer' end)
        {%- else %}
        {{ measure["name"] }}.why
        {%- endif %} as {{ measure["name"] }}_why{{ "," if not loop.last }}
        {%- endfor %}
    from level_{{ number }} as groups
    {%- for measure in measures %}
    inner join {{ measure["name"] }}_{{ number }}_final as {{ measure["name"] }}
        on groups.group_text = {{ measure["name"] }}.group_text
    {%- endfor %}
    {%- if not loop.last %}
    union all
    {%- endif %}
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
    withheld in it are (`room_down`, `room_up`), and where all in it are (`all_down`, `all_up`).
#}
{% macro _judged(measure, number) %}
    {%- set name, minimum, any = measure["name"], minimum_group_size(), 1000000000 -%}
    {%- set is_outcome = measure["rest"] is defined -%}
    {%- set is_listed = measure.get("is_listed", true) -%}
    {%- set lowest = 0 if is_outcome or not (is_listed or number) else 1 -%}
    {%- set width = _width(measure) | int -%}
    {%- set value, rest = "groups." ~ name ~ "_value", ("groups." ~ name ~ "_rest") if is_outcome else any -%}
{{ name }}_{{ number }} as (
    select
        group_text,
        parent_text,
        is_there,
        is_outer,
        is_small,
        is_first,
        -- Beside those withheld for themselves, until these are free.
        is_there and not is_first and has_first
        and not (count_before >= 2 and down_before >= {{ width }} and up_before >= {{ width }}) as is_beside,
        room_down,
        room_up,
        all_down,
        all_up
    from (
        select
            *,
            max(case when is_first then 1 else 0 end) over (partition by parent_text) = 1 as has_first,
            count(*) over before as count_before,
            coalesce(sum(room_down) over before, 0) as down_before,
            coalesce(sum(room_up) over before, 0) as up_before
        from (
            select
                *,
                {%- if number %}
                {%- for end in ["down", "up"] %}
                case when is_small then least(told_{{ end }}, within_{{ end }}) else within_{{ end }} end as all_{{ end }},
                case
                    when not is_first or below_{{ end }} is null then within_{{ end }}
                    when is_small then least(told_{{ end }}, below_{{ end }})
                    else below_{{ end }}
                end as room_{{ end }}{{ "," if not loop.last }}
                {%- endfor %}
                {%- else %}
                told_down as all_down,
                told_up as all_up,
                told_down as room_down,
                told_up as room_up
                {%- endif %}
            from (
                select
                    *,
                    is_there and (is_outer or is_small or is_open_below) as is_first,
                    greatest(least(
                        value - case when value < {{ minimum }} then {{ lowest }} else {{ minimum }} end,
                        case when rest < {{ minimum }} then {{ minimum - 1 }} - rest else {{ any }} end
                    ), 0) as told_down,
                    greatest(least(
                        case when value < {{ minimum }} then {{ minimum - 1 }} - value else {{ any }} end,
                        rest - case when rest < {{ minimum }} then 0 else {{ minimum }} end
                    ), 0) as told_up
                from (
                    select
                        groups.group_text,
                        groups.parent_text,
                        {{ value }} as value,
                        {{ rest }} as rest,
                        groups.{{ name }}_{{ "of" if is_outcome else "value" }} > 0 as is_there,
                        {{ "coalesce(outer_groups.why is not null, false)" if measure["within"] else "false" }}
                        {%- if measure["forced"] %} or coalesce(groups.is_{{ name }}_forced, false){% endif %} as is_outer,
                        {%- if is_outcome %}
                        {{ value }} < {{ minimum }} or {{ rest }} < {{ minimum }} as is_small,
                        {%- else %}
                        {{ value }} < {{ minimum }} or groups.people_count < {{ minimum }} as is_small,
                        {%- endif %}
                        {%- if number %}
                        below.group_count > 0 and not (
                            below.group_count >= 2
                            and below.room_down >= {{ width }}
                            and below.room_up >= {{ width }}
                        ) as is_open_below,
                        below.room_down as below_down,
                        below.room_up as below_up,
                        below.all_down as within_down,
                        below.all_up as within_up
                        {%- else %}
                        false as is_open_below
                        {%- endif %}
                    from level_{{ number }} as groups
                    {%- if measure["within"] %}
                    inner join {{ measure["within"] }}_{{ number }}_final as outer_groups
                        on groups.group_text = outer_groups.group_text
                    {%- endif %}
                    {%- if number %}
                    left join (
                        select
                            parent_text,
                            count(case when is_first or is_beside then 1 end) as group_count,
                            sum(case when is_first or is_beside then room_down end) as room_down,
                            sum(case when is_first or is_beside then room_up end) as room_up,
                            sum(all_down) as all_down,
                            sum(all_up) as all_up
                        from {{ name }}_{{ number - 1 }}
                        group by parent_text
                    ) as below
                        on groups.group_text = below.parent_text
                    {%- endif %}
                ) as read_groups
            ) as told_groups
        ) as free_groups
        where is_there
        window before as (
            partition by parent_text
            order by
                case when is_first then 0 else 1 end,
                case when room_down >= {{ width }} and room_up >= {{ width }} then 0 else 1 end,
                least(value, {{ any }}) + least(rest, {{ any }}),
                group_text
            rows between unbounded preceding and 1 preceding
        )
    ) as ordered_groups
)
{%- endmacro %}


{#
    Why a group's figure is withheld: outer (what it is a part of is), small, or beside (it would give away another, or
    follows from others); null: it is shown. Groups within one that is withheld beside others are withheld with it.
#}
{% macro _final(measure, number, is_last) %}
    {%- set name, minimum = measure["name"], minimum_group_size() -%}
    {%- set width = _width(measure) | int -%}
{{ name }}_{{ number }}_final as (
    select
        groups.group_text,
        coalesce(judged.is_beside, false) {% if not is_last %}or coalesce(above.is_closed, false) {% endif %}as is_closed,
        case
            {%- if is_last %}
            -- What is withheld of the known sum is still not free, and there is nothing left to withhold: no bounds.
            when
                judged.is_first and not judged.is_outer
                and count(case when judged.is_first or judged.is_beside then 1 end) over known_sum >= 2
                and not (
                    sum(case when judged.is_first or judged.is_beside then judged.room_down end) over known_sum
                    >= {{ width }}
                    and sum(case when judged.is_first or judged.is_beside then judged.room_up end) over known_sum
                    >= {{ width }}
                )
                then 'beside'
            {%- endif %}
            when judged.is_outer and judged.is_first then 'outer'
            when judged.is_small and judged.is_first then 'small'
            when judged.is_first or judged.is_beside {% if not is_last %}or above.is_closed {% endif %}then 'beside'
        end as why
    from level_{{ number }} as groups
    left join {{ name }}_{{ number }} as judged
        on groups.group_text = judged.group_text
    {%- if not is_last %}
    left join {{ name }}_{{ number + 1 }}_final as above
        on groups.parent_text = above.group_text
    {%- else %}
    window known_sum as (partition by groups.parent_text)
    {%- endif %}
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
    cast(cast(round(100 * {{ share }}) as integer) as {{ dbt.type_string() }}) || ' %'
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
                when {{ measure["name"] }}_why = 'beside' then '{{ measure["words"] }}: would give away a small group'
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
