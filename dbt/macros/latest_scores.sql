{#- The scores of the last scoring of each source and outcome, as a query: all columns. -#}
{%- macro latest_scores() %}
    select scores.*
    from {{ source("analytics", "at_risk_scores") }} as scores
    inner join (
        select
            source,
            outcome,
            max(scored_at) as scored_at
        from {{ source("analytics", "at_risk_scores") }}
        group by source, outcome
    ) as last_scorings
        on
            scores.source = last_scorings.source
            and scores.outcome = last_scorings.outcome
            and scores.scored_at = last_scorings.scored_at
{%- endmacro %}
