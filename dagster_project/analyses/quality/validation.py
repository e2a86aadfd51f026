"""Hold a table of any size against its suite: the engine counts, Great Expectations judges.

What an expectation cannot tell apart is one *kind* of row. The engine reduces a table to its kinds with their numbers
of rows, in a few scans that spill to the disk at the memory limit of the settings:

- a range: the least and the largest value; if one of them lies outside, the rows below, within and above;
- a set, a pattern, a length: each distinct value;
- null or not: one kind of each (by source, where only sources that fill a column count);
- an order of two columns: one pair each of less, equal and greater, a date and a time compared by the day;
- a mean, median, minimum or maximum: the number itself.

Great Expectations is given the kinds as one frame, a column an expectation, and its verdict on a kind holds for all of
its rows. So counts are exact, and memory depends on the engine's limit and on `FRAME_VALUES`, never on the rows. NaN
counts as infinite: it lies in no range that is bounded above.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

import duckdb

from dagster_project.analyses.quality.suite import (
    AGGREGATES,
    BY_ROW,
    CONTAINED,
    NULLS,
    PAIRS,
    RANGES,
    VALUES,
    Expectation,
    Suite,
)
from dagster_project.base.sql import identifier, literal

EXAMPLES = 20
FRAME_VALUES = 50_000


@dataclass(frozen=True)
class Relation:
    """What is checked.

    Attributes:
        sql: what stands after `from`.
        types: its columns with their types.
        keys: the columns that say which row it is.
        part: which part of a table it is, in words; empty: all of it.
        shown: what stands after `from` in a query for people, where `sql` lists a thousand files.
    """

    sql: str
    types: dict[str, str]
    keys: tuple[str, ...]
    part: str = ""
    shown: str = ""


@dataclass
class Outcome:
    """What one expectation found.

    Attributes:
        rows: rows of the table, or of the part of it that was looked at.
        judged: values among them that have a verdict: all but nulls, of which only a rule about nulls judges any.
        unexpected: those of `judged` that the rule does not allow; 0 where it judges no single row.
        examples: keys of at most `EXAMPLES` unexpected rows.
        observed: least and largest value, the mean, how many distinct values are unexpected.
        query: SQL that finds the unexpected rows.
    """

    success: bool = True
    rows: int = 0
    judged: int = 0
    unexpected: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)
    observed: dict[str, Any] = field(default_factory=dict)
    query: str | None = None
    error: str | None = None

    @property
    def unexpected_share(self) -> float:
        """Share of the judged rows that break the expectation; 0 where none was judged."""
        return self.unexpected / self.judged if self.judged else 0.0


@dataclass(frozen=True)
class Kind:
    """A value (of two columns: a pair) that stands for `rows` rows, and the condition that finds them."""

    value: Any
    rows: int
    condition: str


def validate(suite: Suite, relation: Relation, connection: duckdb.DuckDBPyConnection) -> dict[str, Outcome]:
    """Outcomes by expectation id; an expectation about a column that is not there fails and says so.

    Args:
        connection: where `relation.sql` can be read.
    """
    outcomes = {expectation.id: Outcome() for expectation in suite.expectations}
    there = []
    for expectation in suite.expectations:
        if missing := [column for column in expectation.columns if column not in relation.types]:
            outcomes[expectation.id].success = False
            outcomes[
                expectation.id
            ].error = f"There is no column {', '.join(missing)}; there are: {', '.join(relation.types)}"
        else:
            there.append(expectation)
    engine = _Engine(relation, connection)
    rows, scanned = engine.scan(there)
    kinds = {**scanned, **{e.id: engine.distinct(e) for e in there if e.type in VALUES | CONTAINED}}
    bad = _judge_all(there, kinds, outcomes)
    if left := [e for e in there if e.type in RANGES and bad[e.id]]:
        outcomes |= {expectation.id: Outcome() for expectation in left}
        bad |= _judge_all(left, engine.scan(left, with_zones=True)[1], outcomes)
    for expectation in there:
        outcome = outcomes[expectation.id]
        outcome.rows = rows
        if expectation.type in BY_ROW and not outcome.error:
            outcome.success = outcome.unexpected_share <= 1 - expectation.kwargs.get("mostly", 1.0) + 1e-12
        if bad[expectation.id]:
            engine.find_examples(expectation, outcome, bad[expectation.id])
    return outcomes


class _Engine:
    """The queries about one relation."""

    def __init__(self, relation: Relation, connection: duckdb.DuckDBPyConnection) -> None:
        self._relation = relation
        self._connection = connection

    def scan(self, expectations: Sequence[Expectation], with_zones: bool = False) -> tuple[int, dict[str, list[Kind]]]:
        """Rows, and the kinds of every expectation that needs no distinct values, from one scan.

        Args:
            with_zones: the rows below, within and above a range apart, not only its ends.
        """
        asked = {"count(*)": 0}
        readers: list[tuple[str, str, int, int]] = []
        for expectation in expectations:
            for rows, value, condition in self._kinds(expectation, with_zones):
                of_rows, of_value = (asked.setdefault(sql, len(asked)) for sql in (rows, value))
                readers.append((expectation.id, condition, of_rows, of_value))
        found = self._connection.execute(f"select {', '.join(asked)} from {self._relation.sql}").fetchall()[0]
        kinds: dict[str, list[Kind]] = {expectation.id: [] for expectation in expectations}
        for name, condition, rows, value in readers:
            if found[rows]:
                kinds[name].append(Kind(_without_nan(found[value]), found[rows], condition))
        for expectation in expectations:
            if expectation.of_filling_sources:
                kinds[expectation.id] = self._gaps(expectation)
        return found[0], kinds

    def _gaps(self, expectation: Expectation) -> list[Kind]:
        """Nulls and values of the columns, in the rows of the sources that fill them."""
        names = [identifier(column) for column in expectation.columns]
        counts = ", ".join(f"count({name})" for name in names)
        kinds = []
        for source, rows, *filled in self._connection.execute(
            f"select source, count(*), {counts} from {self._relation.sql} group by source"
        ).fetchall():
            for name, there in zip(names, filled, strict=True):
                if there:
                    of_source = f"source = {literal(source)} and {name}"
                    kinds.append(Kind("something", there, f"{of_source} is not null"))
                    if rows > there:
                        kinds.append(Kind(None, rows - there, f"{of_source} is null"))
        return kinds

    def _kinds(self, expectation: Expectation, with_zones: bool) -> Iterator[tuple[str, str, str]]:
        """(aggregate that counts its rows, aggregate that is its value, condition) of each kind of an expectation."""
        for column in () if expectation.type in PAIRS else expectation.columns:
            name, number = identifier(column), self._number(column)
            counted, there = f"count({name})", f"{name} is not null"
            if expectation.type in AGGREGATES:
                yield counted, f"{AGGREGATES[expectation.type]}({number})", there
            elif expectation.type in NULLS and not expectation.of_filling_sources:
                yield from ((counted, "'something'", there), (f"count(*) - {counted}", "null", f"{name} is null"))
            elif expectation.type in RANGES and not with_zones:
                yield from ((counted, f"{end}({number})", there) for end in ("min", "max"))
            elif expectation.type in RANGES:
                for end, condition in self._zones(column, expectation.kwargs):
                    yield f"count(*) filter ({condition})", f"{end}({number}) filter ({condition})", condition
        if expectation.type in PAIRS:
            a, b = self._alike(*expectation.columns)
            for condition in (f"{a} {sign} {b}" for sign in "<=>"):
                pair = f"any_value({{'a': {a}, 'b': {b}}}) filter ({condition})"
                yield f"count(*) filter ({condition})", pair, condition

    def _zones(self, column: str, bounds: dict) -> Iterator[tuple[str, str]]:
        """(which end stands for it, condition) of the values below, within and above a range."""
        name, data_type = self._number(column), self._relation.types[column]
        low, high = (bounds.get(bound) for bound in ("min_value", "max_value"))
        cast = f"::{data_type}" if isinstance(low or high, str) else ""
        outside = []
        if low is not None:
            outside.append(("min", f"{name} <{'=' if bounds.get('strict_min') else ''} {_sql(low)}{cast}"))
        if high is not None:
            outside.append(("max", f"{name} >{'=' if bounds.get('strict_max') else ''} {_sql(high)}{cast}"))
        within = f"not ({' or '.join(condition for _, condition in outside)})"
        yield from (("min", within), *outside)

    def _alike(self, a: str, b: str) -> tuple[str, str]:
        """Two columns as they can be compared: of a date and a time only the day, or the date would be its midnight."""
        kinds = [self._relation.types[column] for column in (a, b)]
        is_day = "DATE" in kinds and any(kind.startswith("TIMESTAMP") for kind in kinds)
        first, second = (f"{identifier(column)}::date" if is_day else identifier(column) for column in (a, b))
        return first, second

    def _number(self, column: str) -> str:
        return identifier(column) + ("::integer" if self._relation.types[column] == "BOOLEAN" else "")

    def distinct(self, expectation: Expectation) -> Iterator[Kind]:
        """Distinct values, streamed; where a set must be contained, only those of the set."""
        for column in map(identifier, expectation.columns):
            where = f"{column} is not null"
            if expectation.type in CONTAINED:
                where = f"{column} in ({', '.join(map(_sql, expectation.kwargs['value_set']))})"
            # A cursor of its own: a result that is not read to its end blocks its connection.
            reader = (
                self._connection.cursor()
                .sql(
                    f"select {column} as value, count(*) as n from {self._relation.sql} where {where} group by {column}"
                )
                .to_arrow_reader(FRAME_VALUES)
            )
            for batch in reader:
                for row in batch.to_pylist():
                    yield Kind(row["value"], row["n"], f"{column} = {_sql(row['value'])}")

    def find_examples(self, expectation: Expectation, outcome: Outcome, kinds: list[Kind]) -> None:
        condition = " or ".join(dict.fromkeys(f"({kind.condition})" for kind in kinds))
        keys = self._relation.keys
        outcome.query = (
            f"select * from {self._relation.shown or self._relation.sql} where {_broken_rule(expectation) or condition}"
        )
        if keys:
            rows = self._connection.execute(
                f"select {', '.join(map(identifier, keys))} from {self._relation.sql} "
                f"where {condition} limit {EXAMPLES}"
            ).fetchall()
            outcome.examples = [dict(zip(keys, map(str, row), strict=True)) for row in rows]


def _judge_all(
    expectations: Sequence[Expectation], kinds: Mapping[str, Iterable[Kind]], outcomes: dict[str, Outcome]
) -> dict[str, list[Kind]]:
    """Judge all kinds, a bounded number at a time, into the outcomes; returns the first unexpected ones of each."""
    bad: dict[str, list[Kind]] = {expectation.id: [] for expectation in expectations}
    left = {expectation.id: iter(kinds.get(expectation.id, ())) for expectation in expectations}
    by_id = {expectation.id: expectation for expectation in expectations}
    while chunk := {name: found for name, more in left.items() if (found := list(islice(more, FRAME_VALUES)))}:
        for name, (unexpected, result) in _judge([by_id[name] for name in chunk], chunk).items():
            bad[name] += unexpected[: EXAMPLES - len(bad[name])]
            _add(outcomes[name], by_id[name], chunk[name], unexpected, result)
    return bad


def _judge(expectations: list[Expectation], kinds: dict[str, list[Kind]]) -> dict[str, tuple[list[Kind], Any]]:
    """Unexpected kinds and Great Expectations' result by expectation id, over one frame.

    A column of fewer kinds than another repeats its first one; an aggregate has null beside it, which does not count.
    """
    import great_expectations as gx
    import pandas as pd

    frame, configurations = {}, []
    length = max(len(found) for found in kinds.values())
    for number, expectation in enumerate(expectations):
        values = [kind.value for kind in kinds[expectation.id]]
        values += [None if expectation.type in AGGREGATES else values[0]] * (length - len(values))
        kwargs = {key: _like(values[0], value) for key, value in expectation.kwargs.items() if key != "mostly"}
        if expectation.type in PAIRS:
            frame |= {f"{number}{side}": [value[side] for value in values] for side in "ab"}
            kwargs |= {"column_A": f"{number}a", "column_B": f"{number}b"}
        else:
            frame[f"{number}"] = values
            kwargs |= {"column": f"{number}"}
        configurations.append({"id": expectation.id, "type": expectation.type, "kwargs": kwargs})
    results = (
        _batch_definition()
        .get_batch({"dataframe": pd.DataFrame(frame)})
        .validate(gx.ExpectationSuite(name="kinds", expectations=configurations), result_format="COMPLETE")
    )
    judged = {}
    for result in results.results:
        name = result.expectation_config.id
        places = (result.result or {}).get("unexpected_index_list") or []
        judged[name] = ([kinds[name][place] for place in places if place < len(kinds[name])], result)
    return judged


@cache
def _batch_definition() -> Any:
    """What takes frames. Importing Great Expectations costs seconds: it happens where a suite runs."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("kinds")
    return source.add_dataframe_asset("kinds").add_batch_definition_whole_dataframe("kinds")


def _add(outcome: Outcome, expectation: Expectation, kinds: list[Kind], unexpected: list[Kind], result: Any) -> None:
    # Great Expectations reports an exception as one mapping, or as one per metric that could not be computed.
    reported = result.exception_info or {}
    for info in (reported, *(value for value in reported.values() if isinstance(value, dict))):
        outcome.error = info.get("exception_message") or outcome.error
    values = [kind.value for kind in kinds]
    if expectation.type in RANGES and len({kind.condition for kind in kinds}) < len(kinds):
        kinds = kinds[::2]  # The least and the largest value of a column stand for the same rows.
    outcome.judged += sum(kind.rows for kind in kinds)
    outcome.unexpected += sum(kind.rows for kind in unexpected)
    if outcome.error or expectation.type not in BY_ROW:
        outcome.success &= bool(result.success)
    if expectation.type in AGGREGATES:
        outcome.observed = {AGGREGATES[expectation.type]: values[0]}
    elif expectation.type in RANGES:
        outcome.observed = {"least": min(values), "largest": max(values)}
    elif expectation.type in CONTAINED:
        outcome.observed = {"found": sorted(values)}
    elif expectation.type in VALUES:
        outcome.observed = {"unexpected values": outcome.observed.get("unexpected values", 0) + len(unexpected)}


def _broken_rule(expectation: Expectation) -> str | None:
    """The condition of unexpected text in words of the rule: a value found might be anything, a name in a wrong column.

    None where the conditions of the kinds hold no values.
    """
    if expectation.type not in VALUES:
        return None
    kwargs, conditions = expectation.kwargs, []
    for column in map(identifier, expectation.columns):
        no = "" if "_not_" in expectation.type else "not "
        if "value_set" in kwargs:
            conditions.append(f"{column} {no}in ({', '.join(map(_sql, kwargs['value_set']))})")
        elif "regex" in kwargs:
            conditions.append(f"{no}regexp_matches({column}, {_sql(kwargs['regex'])})")
        else:
            low, high = kwargs.get("min_value", 0), kwargs.get("max_value", 2**31)
            conditions.append(f"length({column}) not between {low} and {high}")
    return " or ".join(conditions)


def _without_nan(value: Any) -> Any:
    """The engine sorts NaN above everything; Great Expectations would take it for a missing value."""
    return math.inf if isinstance(value, float) and math.isnan(value) else value


def _like(value: Any, bound: Any) -> Any:
    """A bound that JSON holds as text, of the type that the values have."""
    if isinstance(bound, str) and isinstance(value, datetime):
        return datetime.fromisoformat(bound)
    return bound


def _sql(value: Any) -> str:
    return str(value) if isinstance(value, bool | int | float) else literal(str(value))
