-- Items of open courses that are items of degree courses too. Grain: one row per source × open item × degree item.
with final as (
    {{ deduplicated("raw_campus", "shared_items") }}
)

{{ canonical_select("final", "shared_items") }}
