-- Items of open courses that are items of degree courses too. Grain: one row per source × open item × degree item.
with shared_items as (
    {{ union_contracts("shared_items") }}
)

select
    source,
    {{ entity_key(["open_course_id"]) }} as open_course_key,
    {{ entity_key(["course_id"]) }} as course_key,
    open_item_id,
    item_id
from shared_items
