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
        {{ of_hundred_in_words("effects.retention_at_low") }} || ' → '
        || {{ of_hundred_in_words("effects.retention_at_high") }} || ' of 100 stay ('
        || {{ change_in_words("effects.points") }} || ' points; '
        || {{ change_in_words("effects.percent") }} || ' % as the report counts, 95 % interval '
        || {{ change_in_words("effects.percent_low") }} || ' to '
        || {{ change_in_words("effects.percent_high") }} || ' %)' as figure_words,
        coalesce(
            '; drawn to the mean of all programs ' || {{ change_in_words("effects.shrunken_percent") }} || ' % ('
            || {{ change_in_words("effects.shrunken_percent_low") }} || ' to '
            || {{ change_in_words("effects.shrunken_percent_high") }} || ' %)',
            ''
        ) as shrunken_words,
        coalesce('In ' || programs.program_name || ': ', '') as place_words,
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
    finding,
    contrast_rule,
    contrast_low,
    contrast_high,
    retention_at_low,
    retention_at_high,
    points,
    points_low,
    points_high,
    percent,
    percent_low,
    percent_high,
    shrunken_percent,
    shrunken_percent_low,
    shrunken_percent_high,
    between_program_percent,
    romano_wolf_p,
    robustness_value,
    robustness_value_of_interval,
    row_count,
    cluster_count,
    clustered_by,
    selected_control_count,
    selected_controls,
    ---------- in words
    place_words
    || case
        when status != 'estimated' then title || ' cannot be estimated: ' || reason || '.'
        else
            case when finding = 'not shown' then 'No difference is shown: ' else '' end
            || figure_words || ' when "' || title || '" ' || contrast_words || ', with '
            || cast(selected_control_count as {{ dbt.type_string() }}) || ' controls held' || shrunken_words
            || case finding
                when 'shown' then '; shown'
                when 'hint' then '; a hint, for among all that were looked at it may be chance'
                else '; its interval holds zero'
            end
            || '; association, not proof.'
    end as sentence
from worded
