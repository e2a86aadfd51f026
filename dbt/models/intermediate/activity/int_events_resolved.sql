-- Daily event counts with their enrollment, as core takes them. Grain: one row per row of int_events_summarized.
{{ config(materialized="view") }}

{{ resolved_events() }}
