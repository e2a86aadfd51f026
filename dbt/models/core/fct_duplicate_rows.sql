-- Duplicates that staging resolved, by table. Grain: one row per source × raw table.
with counted as (
    {{ union_contracts("raw_rows") }}
)

select
    source,
    table_name,
    raw_row_count,
    distinct_row_count,
    raw_row_count - distinct_row_count as duplicate_row_count
from counted
