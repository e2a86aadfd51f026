-- Course items by the offerings that teach them. Grain: one row per source × course × version × item × term;
-- an item whose version no offering teaches has one row without a term.
with items as (
    {{ union_contracts("course_items") }}
),

offerings as (
    {{ union_contracts("course_offerings") }}
)

select
    items.*,
    case items.kind
        {%- for activity_kind, kinds in activity_kinds().items() %}{% for kind in kinds %}
        when '{{ kind }}' then '{{ activity_kind }}'
        {%- endfor %}{% endfor %}
    end as activity_kind,
    offerings.term_id,
    {{ entity_key(["course_id", "term_id"], "offerings") }} as course_offering_key,
    case when offerings.term_id is null then 'course_offerings' end as missing_reference
from items
left join offerings
    on
        items.source = offerings.source
        and items.course_id = offerings.course_id
        and items.version_id = offerings.version_id
