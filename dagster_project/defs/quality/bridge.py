"""From Great Expectations suite files to Dagster asset checks: one check per expectation.

The suites of the tables that one step writes are checked by one step after it, so that a blocking check stops what
comes after. How tables of any size are held against a suite in bounded memory: `validation.py`. Of a raw event table
the days that changed and are not summarized yet are looked at, of every other table all rows. What was found goes to
the table `ops.findings` (`store/findings.py`), of which Data Docs are made, before any result is told.
"""

import json
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import dagster as dg
import duckdb

from dagster_project.analyses.quality.suite import Expectation, Suite, read_suites
from dagster_project.analyses.quality.validation import Outcome, Relation, validate
from dagster_project.base import clock
from dagster_project.base.sql import literal
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.at_risk import assets as at_risk
from dagster_project.defs.drivers import assets as drivers
from dagster_project.defs.instance.failures import REMEDY
from dagster_project.defs.learner_changes import assets as learner_changes
from dagster_project.defs.resources import WarehouseResource
from dagster_project.defs.skills import assets as skills
from dagster_project.ingest.source_state import source_states
from dagster_project.report.data_docs import write_pages
from dagster_project.report.page import About
from dagster_project.store import findings
from dagster_project.store.raw import raw_relation
from dagster_project.store.warehouse import Warehouse

SEVERITY = {"critical": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}
PRODUCERS: tuple[ModuleType, ...] = (learner_changes, drivers, at_risk, skills)


def steps_of_suites(suites: list[Suite]) -> dict[str, list[Suite]]:
    """Suites by the step that checks them: one for each step that writes their tables, else one a schema."""
    producers = {
        key: definition.op.name
        for definition in dg.load_assets_from_modules(PRODUCERS)
        if isinstance(definition, dg.AssetsDefinition)
        for key in definition.keys
    }
    steps = defaultdict(list)
    for suite in suites:
        steps[f"expectations_{producers.get(_key(suite), suite.schema)}"].append(suite)
    return dict(steps)


def suite_checks(name: str, suites: list[Suite]) -> dg.AssetChecksDefinition:
    """One Dagster check per expectation of these suites, as one step."""

    @dg.multi_asset_check(
        name=name,
        can_subset=True,
        specs=[
            dg.AssetCheckSpec(
                expectation.id,
                asset=_key(suite),
                blocking=expectation.severity == "critical",
                description=expectation.description,
            )
            for suite in suites
            for expectation in suite.expectations
        ],
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.AssetCheckResult]:
        chosen = context.selected_asset_check_keys
        results: list[dg.AssetCheckResult] = []
        found: dict[str, list[dict]] = {}
        with warehouse.writing(context) as settings:
            try:
                for suite in suites:
                    wanted = [x for x in suite.expectations if dg.AssetCheckKey(_key(suite), x.id) in chosen]
                    if not wanted:
                        continue
                    with relation_of(suite, warehouse) as (relation, connection):
                        outcomes = validate(suite, relation, connection)
                    found[suite.table_name] = findings_of(suite, outcomes, relation, warehouse.run_id)
                    docs = findings.page_of(settings, suite.table_name)
                    results += [_result(suite, x, outcomes[x.id], docs) for x in wanted]
            finally:  # what one suite found is known and shown, also where the next one cannot be read
                tables = {suite.table_name for suite in read_suites()}
                findings.record(settings, found)
                findings.keep_only(settings, tables)
                write_pages(settings, found, tables, About.of(source_states(CONTRACTS, settings), settings))
        yield from results

    return check


def _key(suite: Suite) -> dg.AssetKey:
    return dg.AssetKey([suite.schema, suite.table])


def findings_of(suite: Suite, outcomes: dict[str, Outcome], relation: Relation, run_id: str) -> list[dict]:
    """What a suite found, as rows of `ops.findings`."""
    now = clock.now_as_stored()
    return [
        {
            "table_name": suite.table_name,
            "expectation": expectation.id,
            "position": position,
            "column_names": ", ".join(expectation.columns),
            "rule": expectation.rule,
            "severity": expectation.severity,
            "notes": expectation.notes,
            "is_met": outcome.success,
            "row_count": outcome.rows,
            "judged_count": outcome.judged,
            "unexpected_count": outcome.unexpected,
            "observed": json.dumps({name: _plain(value) for name, value in outcome.observed.items()}),
            "examples": json.dumps(outcome.examples),
            "query": outcome.query,
            "error": outcome.error,
            "part": relation.part,
            "validated_at": now,
            "run_id": run_id,
        }
        for position, expectation in enumerate(suite.expectations, 1)
        for outcome in (outcomes[expectation.id],)
    ]


def _result(suite: Suite, expectation: Expectation, outcome: Outcome, docs: Path) -> dg.AssetCheckResult:
    metadata: dict = {"rows": outcome.rows, **{name: _plain(value) for name, value in outcome.observed.items()}}
    description = None
    if not outcome.success:
        share = f"{outcome.unexpected:,} of {outcome.judged:,} values ({outcome.unexpected_share:.2%})"
        found = outcome.error or (share if outcome.unexpected else json.dumps(metadata, default=str))
        description = f"{', '.join(expectation.columns)}: {found}. {expectation.notes}"
        metadata |= {"unexpected rows": outcome.unexpected, "unexpected share": outcome.unexpected_share}
        metadata["examples"] = dg.MetadataValue.json(outcome.examples)
        metadata["data docs"] = dg.MetadataValue.path(str(docs))
        metadata[REMEDY] = expectation.notes
        if outcome.query:
            # A value of a source that closes the block would go on as Markdown of its own.
            query = outcome.query.replace("```", "` ` `")
            metadata["query"] = dg.MetadataValue.md(f"```sql\n{query}\n```")
        if outcome.error:
            metadata["error"] = outcome.error
    return dg.AssetCheckResult(
        asset_key=_key(suite),
        check_name=expectation.id,
        passed=outcome.success,
        severity=SEVERITY[expectation.severity],
        description=description,
        metadata=metadata,
    )


def _plain(value: object) -> object:
    """A value as Dagster can show it."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, default=str)


@contextmanager
def relation_of(suite: Suite, warehouse: WarehouseResource) -> Generator[tuple[Relation, duckdb.DuckDBPyConnection]]:
    """What a suite is about, and a connection that reads it."""
    contract = next((contract for contract in CONTRACTS.values() if contract.schema == suite.schema), None)
    if contract is None:
        with Warehouse(warehouse.settings).reading(suite.table_name) as (connection, name, types):
            keys = tuple(column for column in types if column.endswith(("_key", "_id")) or column == "source")
            yield Relation(name, types, keys[:5]), connection
        return
    table = contract.table(suite.table)
    days = None
    if table.is_event:
        days = {
            day
            for source in warehouse.sources(contract.name)
            for day in warehouse.ledger.marked_dates(contract.name, source.name).dates
        }
    with raw_relation(warehouse.settings, contract.name, suite.table, days) as (connection, sql):
        types = {column.name: column.data_type.upper() for column in table.raw_columns}
        part = "" if days is None else f"of the {len(days):,} event days that changed"
        files = literal(warehouse.settings.raw_dir / contract.name / suite.table / "**" / "*.parquet")
        shown = f"read_parquet({files}, hive_partitioning = true, union_by_name = true)"
        yield Relation(sql, types, ("source", *table.key), part, shown), connection


@dg.definitions
def suites() -> dg.Definitions:
    return dg.Definitions(
        asset_checks=[suite_checks(name, found) for name, found in steps_of_suites(read_suites()).items()]
    )
