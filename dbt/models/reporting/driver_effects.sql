-- Effects of the report's drivers on first-year retention, in words. Grain: one row per source × driver × program, and
-- per source × driver over all programs.
with effects as (
    select * from {{ source("analytics", "driver_effects") }}
),

catalogue as (
    select * from {{ ref("driver_catalogue") }}
),

programs as (
    select * from {{ ref("dim_program") }}
),

worded as (
    select
        effects.*,
        catalogue.figure,
        catalogue.title,
        catalogue.label as printed_label,
        catalogue.unit,
        catalogue.printed_effect,
        catalogue.printed_percent_low,
        catalogue.printed_percent_high,
        catalogue.printed_sign,
        programs.program_name,
        {{ number_in_words("abs(effects.percent)") }} as size_words,
        case when effects.percent < 0 then 'lower' else 'higher' end as direction,
        {{ number_in_words("effects.percent_low") }} || ' to ' || {{ number_in_words("effects.percent_high") }}
        || ' %' as interval_words,
        case
            when catalogue.unit = 'yes_no' then 'goes from no to yes'
            when catalogue.unit in ('share', 'centroid')
                then
                    'goes from ' || {{ number_in_words("100 * effects.contrast_low") }} || ' to '
                    || {{ number_in_words("100 * effects.contrast_high") }} || ' %'
            when catalogue.unit = 'percent'
                then
                    'goes from ' || {{ number_in_words("effects.contrast_low") }} || ' to '
                    || {{ number_in_words("effects.contrast_high") }} || ' %'
            else
                'goes from ' || {{ number_in_words("effects.contrast_low") }} || ' to '
                || {{ number_in_words("effects.contrast_high") }} || ' ' || catalogue.unit
        end as contrast_words
    from effects
    inner join catalogue
        on effects.driver_id = catalogue.driver_id
    left join programs
        on effects.program_key = programs.program_key
)

select
    ---------- what
    source,
    driver_id,
    program_key,
    program_name,
    position,
    figure,
    title,
    printed_label,
    level,
    unit,
    ---------- the report
    printed_effect,
    printed_percent_low,
    printed_percent_high,
    printed_sign,
    ---------- ours
    status,
    reason,
    contrast_rule,
    contrast_low,
    contrast_high,
    percent,
    percent_low,
    percent_high,
    points,
    points_low,
    points_high,
    romano_wolf_p,
    robustness_value,
    robustness_value_of_interval,
    row_count,
    cluster_count,
    clustered_by,
    selected_control_count,
    selected_controls,
    ---------- in words
    case
        when status != 'estimated' then title || ' cannot be estimated: ' || reason || '.'
        when percent_low > 0 or percent_high < 0
            then
                'First-year retention is ' || size_words || ' % ' || direction || ' (95 % interval ' || interval_words
                || ') when "' || title || '" ' || contrast_words || ', with '
                || cast(selected_control_count as {{ dbt.type_string() }}) || ' controls held; association, not proof.'
        else
            'No difference is shown when "' || title || '" ' || contrast_words || ': the 95 % interval of the change, '
            || interval_words || ', holds zero, with ' || cast(selected_control_count as {{ dbt.type_string() }})
            || ' controls held; association, not proof.'
    end as sentence
from worded
