"""Who may get a file of their own, with which rows of which published table. What no rule covers, nobody gets.

The rules follow from a table's columns: every key in a row that names a learner, an enrollment, a program, a course or
an organization must be the consumer's, and at least one must name it. Columns cannot tell everything: a table of
learners without a program mixes what they did everywhere. What is decided table by table stands in `DECIDED`.
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

import duckdb

from dagster_project.base.errors import StoreError
from dagster_project.base.sql import identifier, literal
from dagster_project.store.meta import Table

Kind = Literal["program", "university", "organization"]
KINDS: tuple[Kind, ...] = ("program", "university", "organization")

# Where the values of a key column must be found: in which temporary table of `make_scope`.
_PEOPLE = {
    "learner_key": "learner_key",
    "course_enrollment_key": "enrollment_key",
    "earlier_course_enrollment_key": "enrollment_key",
    "program_enrollment_key": "enrollment_key",
    "enrollment_key": "enrollment_key",
}
_PLACES = {
    "program_key": "program_key",
    "course_key": "course_key",
    "course_offering_key": "course_offering_key",
    "course_version_key": "course_version_key",
}
_CATALOGUE = {"course_key": "catalogue_key", "open_course_key": "catalogue_key"}
# A program may also take a course that belongs to another one. It gets what the course is made of and what its own
# learners did in it, and no figure over all who took it: less its own learners, that would tell of the others.
_TAKEN = {name: f"taken_{scope}" for name, scope in _PLACES.items() if name != "program_key"}
_DESIGNS = ("marts.mart_course_version", "reporting.course_designs")
# Where program and term of a row are those of the course: in rows of a course that is taken they are another's.
_PROGRAM_OF_COURSE = (
    "core.dim_course",
    "core.dim_course_offering",
    "core.fct_course_enrollment",
    "marts.mart_learner_course",
    "marts.mart_learner_course_week",
    "analytics.at_risk_scores",
    "learners.call_list",
    "learners.call_list_changes",
    *_DESIGNS,
)
_OWNER = ("program_key", "program_name", "term_key")


@dataclass(frozen=True)
class Consumer:
    """A program, a university (all its programs of one source) or an organization.

    Attributes:
        key: `<source>:<id>`; of a university `<source>:<name>`.
        programs: keys of its programs; an organization has none.
    """

    kind: Kind
    key: str
    name: str
    programs: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The source that its rows are of."""
        return self.key.partition(":")[0]

    @property
    def folder(self) -> str:
        """Where its snapshots lie, within `settings.published_for_dir`; no two consumers have the same."""
        return f"{self.source}/{self.kind}-{quote(self.key.partition(':')[2], safe='')}"

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.name})"


@dataclass(frozen=True)
class Rule:
    """Rows of a table that are the consumer's: an SQL condition, or None and why it gets none.

    Attributes:
        condition: on the table's columns and the temporary tables of `make_scope`.
        reason: why the table is left out; "" when it is not.
        emptied: columns that are null in the consumer's rows.
        emptied_of_others: columns that are null in rows whose program is another's.
    """

    condition: str | None
    reason: str = ""
    emptied: tuple[str, ...] = ()
    emptied_of_others: tuple[str, ...] = ()


_WHOLE = Rule("true")
_OPERATOR = Rule(None, "tells how the whole warehouse does, all consumers together")
_EVERYWHERE = Rule(None, "tells of its learners what they did everywhere, other programs included")
_ADMITS = Rule(None, "tells which programs admitted a learner: an employer learns what they can, not what they study")
_TOGETHER = Rule(None, "counts the learners of all programs and organizations together")
_OF_PROGRAMS = Rule(None, "is about programs, and an organization has none")
_TOLD_TO_UNIVERSITY = (
    Rule("learner_key in (from scope_learner_key)"),
    Rule(None, "is what a learner told their university: an employer learns skills, not age or disability"),
)
_GRADERS = Rule(None, "tells who graded whom: grades are in core.fct_submission")
_IN_MEMBERSHIP = (
    "course_key in (from scope_open_course_key) and exists (from scope_membership as times where "
    "times.learner_key = rows.learner_key and rows.{day} >= times.from_on "
    "and (rows.{day} <= times.to_on or times.to_on is null))"
)

# table → rule for programs and universities, rule for organizations; None: as the columns tell.
DECIDED: dict[str, tuple[Rule | None, Rule | None]] = {
    "core.dim_date": (_WHOLE, _WHOLE),
    "core.dim_skill": (_WHOLE, _WHOLE),
    "core.dim_source": (_WHOLE, _WHOLE),
    "core.dim_question_skill": (
        Rule(None, "names questions of other courses; marts.mart_skill_response has those of its own"),
        Rule(None, "names questions of courses, which an organization has none of"),
    ),
    "core.dim_stackable_course": (None, _OF_PROGRAMS),
    "core.dim_learner": _TOLD_TO_UNIVERSITY,
    "core.dim_learner_history": _TOLD_TO_UNIVERSITY,
    "core.dim_profile": (_EVERYWHERE, Rule(None, "is what a learner tells of themselves and their plans")),
    "marts.mart_learner_profile": (_EVERYWHERE, Rule(None, "is what a learner tells of themselves and their plans")),
    "core.fct_course_enrollment": (None, Rule(_IN_MEMBERSHIP.format(day="registered_on"))),
    "core.fct_credential": (None, Rule(_IN_MEMBERSHIP.format(day="issued_on"))),
    "core.fct_duplicate_rows": (_OPERATOR, _OPERATOR),
    "core.fct_held_rows": (_OPERATOR, _OPERATOR),
    "reporting.source_coverage": (_OPERATOR, _OPERATOR),
    "reporting.feature_coverage": (_OPERATOR, _OPERATOR),
    "ops.pipeline_status": (_OPERATOR, _OPERATOR),
    "ops.pipeline_steps": (_OPERATOR, _OPERATOR),
    "ops.pipeline_checks": (_OPERATOR, _OPERATOR),
    # What an organization knows best: who was one of its own, and when.
    "core.fct_organization_membership": (None, Rule("organization_key in (from scope_organization_key)")),
    "marts.mart_organization_member": (
        None,
        Rule("organization_key in (from scope_organization_key)", emptied=("is_main",)),
    ),
    "marts.mart_learner_skill": (_EVERYWHERE, Rule("learner_key in (from scope_learner_key)")),
    "analytics.skill_abilities": (_EVERYWHERE, Rule("learner_key in (from scope_learner_key)")),
    "analytics.skill_growth": (_EVERYWHERE, Rule("learner_key in (from scope_learner_key)")),
    "learners.learner_skills": (
        _EVERYWHERE,
        Rule(
            "learner_key in (from scope_learner_key)",
            emptied=("has_profile", "target_role", "education_level"),
        ),
    ),
    "analytics.skill_next_questions": (_EVERYWHERE, _ADMITS),
    "analytics.skill_next_courses": (_EVERYWHERE, _ADMITS),
    "learners.next_steps": (_EVERYWHERE, _ADMITS),
    # The recommended course may be of any program: it is the catalogue's.
    "analytics.skill_gaps": (None, Rule("organization_key in (from scope_organization_key)")),
    "analytics.skill_scales": (_WHOLE, _WHOLE),
    "core.fct_submission_mark": (_GRADERS, _GRADERS),
    "analytics.grader_severities": (Rule("grader_key is null"), _OF_PROGRAMS),
    "analytics.grader_agreement": (_WHOLE, _OF_PROGRAMS),
    "reporting.grader_severities": (_WHOLE, _OF_PROGRAMS),
    # Of all programs together, or of the models: they name nobody.
    "marts.driver_catalogue": (_WHOLE, _OF_PROGRAMS),
    "marts.driver_control_groups": (_WHOLE, _OF_PROGRAMS),
    "marts.driver_control_eligibility": (_WHOLE, _OF_PROGRAMS),
    "marts.at_risk_actions": (_WHOLE, _OF_PROGRAMS),
    "analytics.driver_dose_response": (_WHOLE, _OF_PROGRAMS),
    "analytics.driver_placebos": (_WHOLE, _OF_PROGRAMS),
    "analytics.driver_specifications": (_WHOLE, _OF_PROGRAMS),
    "analytics.driver_effects": (
        Rule("program_key is null or program_key in (from scope_program_key)"),
        _OF_PROGRAMS,
    ),
    "reporting.driver_effects": (
        Rule("program_key is null or program_key in (from scope_program_key)"),
        _OF_PROGRAMS,
    ),
    "reporting.organization_courses": (
        None,
        Rule(
            "organization_key in (from scope_organization_key) "
            "and (course_key is null or course_key in (from scope_open_course_key))"
        ),
    ),
    "reporting.degree_learner_ages": (_TOGETHER, _TOGETHER),
    "reporting.terms_active": (_TOGETHER, _TOGETHER),
    "reporting.credentials_by_month": (_TOGETHER, _TOGETHER),
    "reporting.learning_by_country": (_TOGETHER, _TOGETHER),
    "reporting.skill_demand": (_TOGETHER, _TOGETHER),
    "reporting.weekly_active_learners": (_TOGETHER, _TOGETHER),
    "analytics.at_risk_backtest": (Rule("n >= {minimum}"), _OF_PROGRAMS),
    "analytics.at_risk_calibration": (Rule("n >= {minimum}"), _OF_PROGRAMS),
    "analytics.at_risk_ranking": (_WHOLE, _OF_PROGRAMS),
    "analytics.at_risk_subgroups": (Rule("n >= {minimum}"), _OF_PROGRAMS),
    "analytics.at_risk_predictions": (_OPERATOR, _OPERATOR),
    "analytics.at_risk_models": (_OPERATOR, _OPERATOR),
    "analytics.at_risk_drift": (_OPERATOR, _OPERATOR),
}


def find_rule(kind: Kind, table: str, columns: Collection[str], minimum_group_size: int) -> Rule | None:
    """The rule of a table ("schema.table") for a kind of consumer; None: there is none, so that nobody may have it."""
    decided = DECIDED.get(table, (None, None))[kind == "organization"]
    rule = decided or (_of_organization if kind == "organization" else _of_programs)(table, set(columns))
    if rule is None or rule.condition is None:
        return rule
    conditions = [rule.condition.replace("{minimum}", str(minimum_group_size))]
    if "source" in columns:
        conditions.append("source in (from scope_source)")
    return replace(rule, condition=" and ".join(f"({condition})" for condition in conditions))


def _of_programs(table: str, columns: set[str]) -> Rule | None:
    if "organization_key" in columns:
        return Rule(None, "is about organizations, which are others than the program")
    if _is_catalogue(table, columns):
        return _or_taken(table, columns, _CATALOGUE | {"program_key": "program_key"})
    naming = [name for name in (*_PLACES, *_PEOPLE) if name in columns and name != "learner_key"]
    if not naming:
        return None
    is_told_of_taken = columns.intersection(_PEOPLE) or table in _DESIGNS
    rule = _or_taken(table, columns, _PEOPLE | _PLACES | (_TAKEN if is_told_of_taken else {}))
    return replace(rule, condition=f"{rule.condition} and coalesce({', '.join(map(identifier, naming))}) is not null")


def _or_taken(table: str, columns: set[str], scopes: dict[str, str]) -> Rule:
    """Every key that a row has is the consumer's, or the row is of a course of another program that it takes."""
    if table not in _PROGRAM_OF_COURSE:
        return _all_of(scopes, columns)
    others = {name: scope for name, scope in scopes.items() if name != "program_key"}
    return Rule(
        f"{_all_of(others, columns).condition} and (program_key is null or program_key in (from scope_program_key) "
        "or course_key in (from scope_shared_course_key))",
        emptied_of_others=tuple(name for name in _OWNER if name in columns),
    )


def _of_organization(table: str, columns: set[str]) -> Rule | None:
    if "organization_key" in columns:
        is_member = " and learner_key in (from scope_learner_key)" if "learner_key" in columns else ""
        return Rule(f"organization_key in (from scope_organization_key){is_member}")
    if columns.intersection(_PEOPLE):
        return Rule(None, "tells what learners do in courses and programs: an employer learns what they can")
    if _is_catalogue(table, columns) and columns.intersection(_CATALOGUE):
        emptied = tuple(sorted(columns.intersection(("program_key", "term_key"))))
        return Rule(_all_of(_CATALOGUE, columns).condition, emptied=emptied)
    return _OF_PROGRAMS if columns.intersection((*_PLACES, "program_name")) else None


def _is_catalogue(table: str, columns: set[str]) -> bool:
    """Whether a table describes programs and courses, and nobody's doings."""
    is_described = columns.intersection((*_CATALOGUE, "program_key"))
    return table.startswith("core.dim_") and bool(is_described) and not columns.intersection(_PEOPLE)


def _all_of(scopes: dict[str, str], columns: set[str]) -> Rule:
    """Every key that a row has is the consumer's."""
    return Rule(
        " and ".join(
            f"({identifier(name)} is null or {identifier(name)} in (from scope_{scope}))"
            for name, scope in scopes.items()
            if name in columns
        )
    )


def find_consumer(connection: duckdb.DuckDBPyConnection, catalog: str, kind: Kind, wanted: str) -> Consumer:
    """The consumer with an id (or a key, `<source>:<id>`) in an attached snapshot.

    Raises:
        StoreError: nobody has it, or in several sources somebody has; names those it could be.
    """
    table, key, id_, programs = {
        "organization": ("dim_organization", "organization_key", "organization_id", "[]"),
        "program": ("dim_program", "program_key", "program_id", "[program_key]"),
        "university": ("dim_program", "source || ':' || university_name", "university_name", "list(program_key)"),
    }[kind]
    name = "university_name" if kind == "university" else f"{kind}_name"
    grouped = "group by all " if kind == "university" else ""
    known = connection.execute(
        f"select {key} as key, {id_}, {name}, list_sort({programs}) from {identifier(catalog)}.core.{table} "
        f"where {id_} is not null {grouped}order by key"
    ).fetchall()
    found = [
        Consumer(kind, key, name or id_, tuple(programs)) for key, id_, name, programs in known if wanted in (key, id_)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise StoreError(
            f"{len(found)} sources have a {kind} {wanted!r}: say which, by its key: {', '.join(x.key for x in found)}"
        )
    words = {word.lower(): key for key, id_, name, _ in known for word in (key, id_, name or "")}
    near = dict.fromkeys(words[word] for word in difflib.get_close_matches(wanted.lower(), words, n=5, cutoff=0.5))
    listed = _listed(known, near) or "It has none at all"
    raise StoreError(f"The published snapshot has no {kind} {wanted!r}. {listed}")


def make_scope(connection: duckdb.DuckDBPyConnection, catalog: str, consumer: Consumer) -> None:
    """Make the temporary tables `scope_…` that the conditions of rules ask: the keys that are the consumer's.

    A program's learners are those who were ever enrolled in it, an organization's those who are members on the last day
    of the data; `scope_membership` has the times of everybody who ever was one. `scope_shared_…` are courses of other
    programs that it takes, `scope_taken_…` these and its own.
    """
    core = f"{identifier(catalog)}.core"
    programs = ", ".join(map(literal, consumer.programs)) or "null"
    organization = literal(consumer.key) if consumer.kind == "organization" else "null"
    people = (
        f"select distinct learner_key from {identifier(catalog)}.marts.mart_organization_member "
        f"where organization_key = {organization}"
        if consumer.kind == "organization"
        else f"select distinct learner_key from {core}.fct_program_enrollment where program_key in ({programs})"
    )
    own, taken = "(from scope_course_key)", "(from scope_taken_course_key)"
    offerings = f"from {core}.dim_course_offering where course_key in"
    queries = {
        "source": f"select {literal(consumer.source)} as source",
        "organization_key": f"select {organization} as organization_key where {organization} is not null",
        "program_key": f"select unnest([{programs}]) as program_key",
        "learner_key": people,
        "membership": f"select learner_key, from_on, to_on from {core}.fct_organization_membership "
        f"where organization_key = {organization}",
        "course_key": f"select course_key from {core}.dim_course where program_key in ({programs})",
        "course_offering_key": f"select course_offering_key {offerings} {own}",
        "course_version_key": f"select distinct course_version_key {offerings} {own} "
        "and course_version_key is not null",
        "shared_course_key": f"select distinct course_key from {core}.dim_program_course "
        f"where program_key in ({programs}) and course_key not in {own}",
        "taken_course_key": f"{own[1:-1]} union from scope_shared_course_key",
        "taken_course_offering_key": f"select course_offering_key {offerings} {taken}",
        "taken_course_version_key": f"select distinct course_version_key {offerings} {taken} "
        "and course_version_key is not null",
        "open_course_key": f"select course_key from {core}.dim_course where program_key is null",
        "catalogue_key": f"from scope_open_course_key union {taken[1:-1]}"
        + (
            f" union select course_key from {identifier(catalog)}.analytics.skill_gaps "
            f"where organization_key = {organization} and course_key is not null"
            if consumer.kind == "organization"
            else ""
        ),
        "enrollment_key": f"select course_enrollment_key as enrollment_key from {core}.fct_course_enrollment "
        f"where course_key in {taken} and learner_key in (from scope_learner_key) union all "
        f"select program_enrollment_key from {core}.fct_program_enrollment where program_key in ({programs})",
    }
    for name, query in queries.items():
        connection.execute(f"create or replace temporary table scope_{name} as {query}")


def find_strangers(connection: duckdb.DuckDBPyConnection, table: Table, relation: str) -> list[str]:
    """Columns of a consumer's table with keys that are not theirs, each with how many: another look at the rules."""
    scopes = {"program_key": "program_key", "organization_key": "organization_key", "learner_key": "other_key"}
    found = []
    for column in table.columns:
        if scope := scopes.get(column.name):
            name = identifier(column.name)
            count = connection.execute(
                f"select count(*) from {relation} where {name} is not null and {name} not in (from scope_{scope})"
            ).fetchall()[0][0]
            if count:
                found.append(f"{table.full_name}.{column.name} ({count:,} rows)")
    return found


def _listed(known: Sequence[tuple], near: Collection[str], at_most: int = 20) -> str:
    names = {key: f"{id_} ({name})" if name and name != id_ else id_ for key, id_, name, _ in known}
    if near:
        return f"Near it: {', '.join(names[key] for key in near)}"
    shown = [names[key] for key in list(names)[:at_most]]
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return f"Known: {', '.join(shown)}{more}" if shown else ""
