"""What a reader would look for in a snapshot in vain, with the reason that the statistics gave."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from dagster_project.base.engine import one_row


@dataclass(frozen=True)
class EmptyAnswer:
    """Something that was asked of a source and not answered.

    Attributes:
        source: name of the source.
        what: the answer, and how much of it is missing.
        reasons: why, each with the names that it concerns; without names it concerns all.
    """

    source: str
    what: str
    reasons: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        lines = [f"  {self.source}: {self.what}"]
        for reason, names in self.reasons.items():
            lines.append(f"      {reason}" + (f": {', '.join(names)}" if names else ""))
        return "\n".join(lines)


# By table: what it answers, the name of a row, whether it holds an answer, why not, and which rows count.
PARTLY = {
    "analytics.driver_effects": (
        "drivers of retention: {missing} of {all} not estimable",
        ("driver_id", "status = 'estimated'", "reason", "program_key is null"),
    ),
    "analytics.skill_scales": (
        "skills: {missing} of {all} without a scale, so that nobody has an ability in them",
        ("substr(skill_key, length(source) + 2)", "bank_version is not null", "reason", "true"),
    ),
}
"""Told for every row without an answer."""
WHOLLY = {
    "analytics.skill_abilities": (
        "abilities: none of {all} is certain enough to be shown",
        ("is_shown", "withheld_reason", "true"),
    ),
    "analytics.skill_benchmarks": (
        "benchmarks of organizations: none of {all} is shown",
        ("is_shown", "withheld_reason", "computed_on = (select max(computed_on) from analytics.skill_benchmarks)"),
    ),
    "analytics.skill_course_gains": (
        "gains of courses: none of {all} is estimated",
        ("gain is not null", "reason", "true"),
    ),
    "analytics.grader_severities": (
        "severity of graders: none of {all} can be told from difficulty",
        ("is_shown", "withheld_reason", "half_year_on is null and graded_by <> compared_with"),
    ),
    "analytics.skill_gaps": (
        "courses for skill gaps: none for {all} gaps",
        ("course_key is not null", "reason", "true"),
    ),
    "analytics.skill_next_courses": (
        "courses to take next: none for {all} learners by skill",
        ("course_key is not null", "reason", "true"),
    ),
}
"""Told where no row of a source holds an answer."""
ABSENT = {
    "analytics.driver_effects": "drivers of retention: none was analysed",
    "analytics.skill_scales": "skills: none, since no answer to a question of a skill is known",
}
"""Told of a source without any row."""


def empty_answers(
    connection: duckdb.DuckDBPyConnection,
    outcomes: Iterable[str],
    began_at: datetime,
    scored: Mapping[str, str],
    decided: Mapping[str, str],
) -> list[EmptyAnswer]:
    """What the published snapshot does not answer, by source.

    Args:
        connection: to the published database.
        outcomes: what is predicted of learners.
        began_at: when the run began, UTC without zone: what was scored earlier is another day's answer.
        scored: what the run said of its scores, in words, by "<source>/<outcome>".
        decided: the same of its models.
    """
    sources = [name for (name,) in connection.execute("select source from _meta.sources order by source").fetchall()]
    there = {
        f"{schema}.{table}"
        for schema, table in connection.execute("select schema_name, table_name from _meta.tables").fetchall()
    }
    found = []
    for source in sources:
        for table in (name for name in (*PARTLY, *WHOLLY) if name in there):
            found += _of_table(connection, source, table)
        if "analytics.at_risk_scores" in there:
            found += _not_scored(connection, source, outcomes, began_at, scored, decided)
    return found


def _of_table(connection: duckdb.DuckDBPyConnection, source: str, table: str) -> list[EmptyAnswer]:
    is_partly = table in PARTLY
    words, (*name, is_there, reason, condition) = (PARTLY if is_partly else WHOLLY)[table]
    rows = connection.execute(
        f"select {name[0] if name else 'null'}, coalesce({is_there}, false), coalesce({reason}, 'no reason is told') "
        f"from {table} where source = ? and {condition} order by 1, 3",
        [source],
    ).fetchall()
    if not rows:
        return [EmptyAnswer(source, ABSENT[table], {})] if table in ABSENT else []
    missing = [(name, why) for name, has_answer, why in rows if not has_answer]
    if not missing or (not is_partly and len(missing) < len(rows)):
        return []
    reasons: dict[str, list[str]] = defaultdict(list)
    for label, why in missing:
        reasons[why] += [label] if label else []
    told = {why: tuple(names) for why, names in reasons.items()}
    return [EmptyAnswer(source, words.format(missing=f"{len(missing):,}", all=f"{len(rows):,}"), told)]


def _not_scored(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    outcomes: Iterable[str],
    began_at: datetime,
    scored: Mapping[str, str],
    decided: Mapping[str, str],
) -> Iterable[EmptyAnswer]:
    query = "select count(*) from analytics.at_risk_scores where source = ? and outcome = ? and scored_at >= ?"
    for outcome in outcomes:
        if one_row(connection, query, [source, outcome, began_at])[0]:
            continue
        name = f"{source}/{outcome}"
        reasons = [words[name] for words in (scored, decided) if name in words]
        told = "; ".join(dict.fromkeys(reasons)) or "no learner of the source can have this outcome by its data"
        yield EmptyAnswer(source, f"learners at risk ({outcome.replace('_', ' ')}): nobody is scored", {told: ()})
