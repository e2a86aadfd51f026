{#
    The canonical entities: every contract's staging brings its tables to these columns and types, in this order.
    `source` (the source's name) is the first column of each. Ids are the source's own, as text.
    Dates that a source gives as a time stamp are cast in staging: features count in days.
#}
{% macro canonical_entities() %}
    {% set definition %}
learners:                         # one row per learner
    learner_id: varchar
    registered_at: timestamp      # registration at the institution, UTC
    birth_year: integer
    age_band: varchar             # where a source gives no birth year
    gender: varchar
    country: varchar
    region: varchar
    education_level: varchar      # on entry
    employment_status: varchar
    deprivation_band: varchar
    has_disability: boolean

institutions:                     # one row per source
    institution_id: varchar
    institution_name: varchar
    time_zone: varchar            # IANA name
    passing_share: double         # share of the points from which an item counts as passed

programs:                         # one row per program
    program_id: varchar
    program_name: varchar
    university_name: varchar
    program_type: varchar         # degree | university (stands for the whole institution)
    level: varchar
    terms_per_year: integer
    terms_may_be_missed: integer
    time_zone: varchar
    passing_share: double

terms:                            # one row per program × term
    program_id: varchar
    term_id: varchar
    season: varchar
    starts_on: date
    ends_on: date                 # last day
    drop_deadline_on: date
    is_required: boolean

program_enrollments:              # one row per learner × program
    learner_id: varchar
    program_id: varchar
    admitted_on: date
    first_term_id: varchar
    completed_on: date            # of the program
    leave_from_on: date           # leave of absence
    leave_to_on: date             # last day; null while it lasts

courses:                          # one row per course
    course_id: varchar
    course_name: varchar
    course_type: varchar          # degree | open | module | skill_check
    program_id: varchar
    level: varchar                # basic | intermediate | advanced
    is_required_for_progress: boolean
    language: varchar
    passing_share: double

program_courses:                  # one row per program × course that serves it beside the course's own program
    program_id: varchar
    course_id: varchar

course_offerings:                 # one row per course × term
    course_id: varchar
    term_id: varchar
    version_id: varchar           # version of the course's content that was taught
    starts_on: date
    ends_on: date                 # last day

course_items:                     # one row per course × version × item
    course_id: varchar
    version_id: varchar
    item_id: varchar
    item_name: varchar
    kind: varchar                 # macro item_kinds
    source_kind: varchar          # the source's own word
    first_week: integer           # planned use, weeks of the course
    last_week: integer
    position: integer             # order within the course
    is_graded: boolean
    is_logged: boolean            # whether events may name it; false: the source tells hand-ins only
    is_final_exam: boolean
    assignment_group: varchar     # of which only the best grades count
    best_count: integer           # how many of them
    weight_share: double          # weight in the course's result, 0 to 1
    planned_minutes: double
    due_day: integer              # days after the start of the offering
    late_penalty_share: double

course_enrollments:               # one row per learner × course × term × registration
    learner_id: varchar
    course_id: varchar
    term_id: varchar
    registration_number: integer  # 1 for the first
    registered_at: timestamp      # UTC
    registered_on: date           # where a source gives days only
    unregistered_on: date         # dropped, withdrawn
    completed_on: date
    is_paid: boolean
    outcome: varchar              # distinction | pass | fail | withdrawn
    final_grade_share: double     # 0 to 1
    studied_credits: integer      # of all courses the learner takes at the time
    previous_attempt_count: integer

shared_items:                     # one row per item of an open course × item of a degree course that is the same
    open_course_id: varchar
    open_item_id: varchar
    course_id: varchar
    item_id: varchar

submissions:                      # one row per learner × item × attempt
    learner_id: varchar
    course_id: varchar
    term_id: varchar
    item_id: varchar
    attempt_number: integer
    submitted_at: timestamp       # UTC
    submitted_on: date            # where a source gives days only
    score: double
    maximum_score: double
    grade_released_at: timestamp  # UTC
    graded_by: varchar            # automatic | staff | peer | board
    is_carried_over: boolean      # result of an earlier enrollment

events:                           # one row per delivery of an event, or of a count of equal events
    event_id: varchar             # rows that repeat it on a day are one event; null: every row counts
    learner_id: varchar
    course_id: varchar
    term_id: varchar
    item_id: varchar              # null: an event of the course as a whole
    event_type: varchar           # item_completed (a learning task) | forum_view | forum_thread | forum_reply | other
                                  # words; null: the source counts clicks and does not say what they were
    occurred_at: timestamp        # UTC; null: known by the day only
    occurred_on: date             # the raw partition: filters on it must reach read_parquet
    received_at: timestamp        # UTC; of several deliveries the first counts
    click_count: integer

questions:                        # one row per question × version
    question_id: varchar
    question_version: integer
    course_id: varchar
    item_id: varchar
    maximum_score: double

responses:                        # one row per answer to a question
    learner_id: varchar
    question_id: varchar
    question_version: integer
    attempt_number: integer
    course_id: varchar
    item_id: varchar
    answered_at: timestamp        # UTC
    score: double
    maximum_score: double

skills:                           # one row per skill
    skill_id: varchar
    skill_name: varchar
    competency: varchar
    domain: varchar

question_skills:                  # one row per question × skill that it tests
    question_id: varchar
    skill_id: varchar

course_skills:                    # one row per course × skill that it teaches
    course_id: varchar
    skill_id: varchar

organizations:                    # one row per employer
    organization_id: varchar
    organization_name: varchar
    industry: varchar
    country: varchar
    size_band: varchar

organization_members:             # one row per learner × employer that sponsors the learning
    learner_id: varchar
    organization_id: varchar
    from_on: date
    to_on: date                   # last day; null while it lasts

support_tickets:                  # one row per ticket
    ticket_id: varchar
    learner_id: varchar
    program_id: varchar
    ticket_type: varchar
    opened_at: timestamp          # UTC

interventions:                    # one row per contact with a learner
    intervention_id: varchar
    learner_id: varchar
    program_id: varchar           # null: about none in particular
    course_id: varchar            # null: about none in particular
    channel: varchar              # email | phone | chat | meeting | other
    topic: varchar                # activity | assignments | grades | plans | technical | other
    contacted_by: varchar         # role
    contacted_at: timestamp       # UTC
    recorded_at: timestamp        # UTC; when it was entered in the log

profiles:                         # one row per learner with a profile
    learner_id: varchar
    updated_on: date
    target_role: varchar
    work_experience_count: integer
    has_links: boolean
    has_resume: boolean
    portfolio_project_count: integer

credentials:                      # one row per credential of a learner
    credential_id: varchar
    learner_id: varchar
    kind: varchar                 # course_certificate | professional_certificate | degree
    course_id: varchar
    program_id: varchar
    issued_on: date

raw_rows:                         # one row per source × table of the contract (macro counted_rows)
    table_name: varchar
    raw_row_count: bigint
    distinct_row_count: bigint    # null: the table has no key
    {% endset %}
    {% do return(fromyaml(definition)) %}
{% endmacro %}


{# Kinds of course items. #}
{% macro item_kinds() %}
    {% do return([
        "video", "reading", "practice", "quiz", "staff_graded", "peer_graded", "programming", "plugin", "discussion",
        "team", "navigation", "other",
    ]) %}
{% endmacro %}


{# Kinds by which activity is counted, one column each: the item kinds with those joined that learners use alike. #}
{% macro activity_kinds() %}
    {% do return({
        "video": ["video"],
        "reading": ["reading"],
        "practice": ["practice"],
        "quiz": ["quiz"],
        "assignment": ["staff_graded", "peer_graded", "programming"],
        "discussion": ["discussion"],
        "team": ["team"],
        "navigation": ["navigation"],
        "other": ["plugin", "other"],
    }) %}
{% endmacro %}


{# Columns and types of one entity in the engine's words, `source` first. #}
{% macro canonical_columns(entity) %}
    {% set entities = canonical_entities() %}
    {% if entity not in entities %}
        {% do exceptions.raise_compiler_error(
            "'" ~ entity ~ "' is not a canonical entity. Known: " ~ entities.keys() | join(", ")
            ~ ". They are defined in macros/canonical/canonical_entities.sql."
        ) %}
    {% endif %}
    {% set columns = {"source": column_type("varchar")} %}
    {% for name, type in entities[entity].items() %}{% do columns.update({name: column_type(type)}) %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}


{#
    The last select of a staging model: all columns of the entity from `relation`, cast. What the source cannot fill is
    named in `absent` and is null; a column that is in neither is an error of the database.
#}
{% macro canonical_select(relation, entity, absent=[]) %}
    {%- set columns = canonical_columns(entity) -%}
    {%- for name in absent if name not in columns -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": '" ~ name ~ "' is named as absent but is not a column of " ~ entity
            ~ ". Columns: " ~ columns.keys() | join(", ")
        ) -%}
    {%- endfor -%}
select
    {%- for name, type in columns.items() %}
    cast({{ "null" if name in absent else name }} as {{ type }}) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from {{ relation }}
{%- endmacro %}


{# All contracts' rows of one entity. A contract that lacks the entity adds nothing; if all do, the relation is empty. #}
{% macro union_contracts(entity, where=none) %}
    {%- set columns = canonical_columns(entity) -%}
    {%- set carrying = [] -%}
    {%- for contract in var("contracts") if entity not in var("absent_entities").get(contract, []) -%}
        {%- do carrying.append(contract) -%}
    {%- endfor -%}
    {%- for contract in carrying %}
    select {{ columns.keys() | join(", ") }}
    from {{ ref("stg_" ~ contract ~ "__" ~ entity) }}
    {%- if where %}
    where {{ where }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- else %}
    select
        {%- for name, type in columns.items() %}
        cast(null as {{ type }}) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    where false
    {%- endfor %}
{%- endmacro %}


{# The click columns of the activity table, one per kind. #}
{% macro activity_click_columns() %}
    {% set columns = [] %}
    {% for kind in activity_kinds() %}{% do columns.append(kind ~ "_click_count") %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}


{# Columns of the activity table that count the events of one type, and that type. #}
{% macro counted_event_types() %}
    {% do return({
        "task_count": "item_completed",
        "forum_view_count": "forum_view",
        "forum_thread_count": "forum_thread",
        "forum_reply_count": "forum_reply",
    }) %}
{% endmacro %}


{#
    Columns that mark, of several rows of a learner's day that became known one after the other, the first with something:
    counting these rows counts days, whatever was known when. With the condition on the day's row.
#}
{% macro first_known_flags() %}
    {% do return({
        "is_first_known": "event_count > 0",
        "is_first_task_known": "task_count > 0",
        "is_first_forum_known": "forum_view_count + forum_thread_count + forum_reply_count > 0",
        "is_first_posting_known": "forum_thread_count + forum_reply_count > 0",
    }) %}
{% endmacro %}


{# What the activity table tells of a learner's day beside its keys and dates. #}
{% macro activity_measures() %}
    {% do return(
        first_known_flags().keys() | list + ["event_count", "click_count"] + activity_click_columns()
        + counted_event_types().keys() | list + ["learning_seconds"]
    ) %}
{% endmacro %}
