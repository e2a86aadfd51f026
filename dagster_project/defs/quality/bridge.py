"""From a Great Expectations suite file to Dagster asset checks: one check per expectation.

A suite lies in `expectations/<schema>.<table>.json`, one a table. Every expectation has an `id` (the check's name), a
`severity` (critical blocks what comes after, warning does not) and a note in `meta.notes` that says what to do when it
fails. Great Expectations is given pandas frames of bounded size with only the columns that the suite names; of a raw
event table the days that changed and are not summarized yet. Its import takes seconds: it happens where a suite runs.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dagster_project.defs.contracts import CONTRACTS
from dagster_project.defs.resources import WarehouseResource
from dagster_project.settings import REPOSITORY
from dagster_project.store.raw import raw_frames
from dagster_project.store.warehouse import Warehouse

EXPECTATIONS = REPOSITORY / "expectations"
SEVERITY = {"critical": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}
EXAMPLES = 20


class SuiteError(ValueError):
    """A suite file that cannot become checks; the message names the file and what is expected of it."""


@dataclass(frozen=True)
class Suite:
    """A suite file: its table and its expectations as written (`id`, `type`, `kwargs`, `severity`, `meta`)."""

    path: Path
    schema: str
    table: str
    expectations: list[dict]

    @property
    def columns(self) -> list[str]:
        named = {value for e in self.expectations for key, value in e["kwargs"].items() if key.startswith("column")}
        return sorted(named)


def read_suite(path: Path) -> Suite:
    """Read one suite file.

    Raises:
        SuiteError: the name is not `<schema>.<table>.json`, or an expectation lacks its name, severity or note.
    """
    schema, _, table = path.stem.partition(".")
    if not table:
        raise SuiteError(f"{path.name}: expected a name like <schema>.<table>.json")
    expectations = json.loads(path.read_text())["expectations"]
    for number, expectation in enumerate(expectations, 1):
        problems = [key for key in ("id", "type", "kwargs") if key not in expectation]
        if expectation.get("severity") not in SEVERITY:
            problems.append(f"severity (one of {', '.join(SEVERITY)})")
        if not expectation.get("meta", {}).get("notes"):
            problems.append("meta.notes (what to do when it fails)")
        if problems:
            raise SuiteError(f"{path.name}, expectation {number}: it lacks {', '.join(problems)}")
    return Suite(path, schema, table, expectations)


@dataclass
class Outcome:
    """What one expectation found over all frames of its table."""

    success: bool = True
    rows: int = 0
    unexpected: int = 0
    examples: list = field(default_factory=list)
    observed: list = field(default_factory=list)
    error: str | None = None

    def add(self, result, rows: int) -> None:
        details = result.result or {}
        self.success &= bool(result.success)
        self.rows += rows
        self.unexpected += int(details.get("unexpected_count") or 0)
        self.examples = [*self.examples, *(details.get("partial_unexpected_list") or [])][:EXAMPLES]
        if "observed_value" in details:
            self.observed = [*self.observed, details["observed_value"]][:EXAMPLES]
        # Great Expectations reports an exception as one mapping, or as one per metric that could not be computed.
        reported = result.exception_info or {}
        for info in (reported, *(value for value in reported.values() if isinstance(value, dict))):
            self.error = info.get("exception_message") or self.error


def validate(suite: Suite, batches: Iterator) -> dict[str, Outcome]:
    """Hold every batch (a pandas frame) against the suite; outcomes by expectation id."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    definition = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset(suite.table)
        .add_batch_definition_whole_dataframe("batch")
    )
    expectations = gx.ExpectationSuite(
        name=suite.path.stem,
        expectations=[
            {"id": e["id"], "type": e["type"], "kwargs": e["kwargs"], "severity": e["severity"], "meta": e["meta"]}
            for e in suite.expectations
        ],
    )
    outcomes = {expectation["id"]: Outcome() for expectation in suite.expectations}
    for frame in batches:
        results = definition.get_batch({"dataframe": frame}).validate(expectations)
        for result in results.results:
            outcomes[result.expectation_config.id].add(result, len(frame))
    return outcomes


def suite_checks(suite: Suite) -> dg.AssetChecksDefinition:
    """One Dagster check per expectation of the suite, all run in one pass over the table."""
    key = dg.AssetKey([suite.schema, suite.table])

    @dg.multi_asset_check(
        name=f"expectations_{suite.schema}_{suite.table}",
        specs=[
            dg.AssetCheckSpec(
                expectation["id"],
                asset=key,
                blocking=expectation["severity"] == "critical",
                description=f"{expectation['type']} {json.dumps(expectation['kwargs'])}. "
                f"When it fails: {expectation['meta']['notes']}",
            )
            for expectation in suite.expectations
        ],
    )
    def check(warehouse: WarehouseResource):
        outcomes = validate(suite, _frames(suite, warehouse))
        for expectation in suite.expectations:
            outcome = outcomes[expectation["id"]]
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=expectation["id"],
                passed=outcome.success,
                severity=SEVERITY[expectation["severity"]],
                description=None if outcome.success else expectation["meta"]["notes"],
                metadata={
                    "rows": outcome.rows,
                    "unexpected rows": outcome.unexpected,
                    "unexpected share": outcome.unexpected / outcome.rows if outcome.rows else 0.0,
                    "examples": dg.MetadataValue.json([str(example) for example in outcome.examples]),
                    "observed": dg.MetadataValue.json([str(value) for value in outcome.observed]),
                }
                | ({"error": outcome.error} if outcome.error else {}),
            )

    return check


def _frames(suite: Suite, warehouse: WarehouseResource) -> Iterator:
    contract = next((contract for contract in CONTRACTS.values() if contract.schema == suite.schema), None)
    if contract is None:
        batches = Warehouse(warehouse.settings).batches(f"{suite.schema}.{suite.table}", suite.columns)
        yield from (batch.to_pandas() for batch in batches)
        return
    days = None
    if contract.table(suite.table).is_event:
        days = {
            day
            for source in warehouse.sources(contract.name)
            for day in warehouse.ledger.marked_dates(contract.name, source.name).dates
        }
    yield from raw_frames(warehouse.settings, contract.name, suite.table, suite.columns, days)


@dg.definitions
def suites() -> dg.Definitions:
    return dg.Definitions(asset_checks=[suite_checks(read_suite(path)) for path in sorted(EXPECTATIONS.glob("*.json"))])
