"""Whatever bytes land under a table's name: rows of the file = accepted + refused, or one clear error."""

import os
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest.landing import LandingError
from dagster_project.ingest.swap import incoming_folders
from tests.unit.landing_files import Bench
from tests.unit.landing_mutations import Delivery, deliveries, file_name, good_file

FORMS = r"""
sources:
  - name: raw_forms
    config: {meta: {contract: forms}}
    tables:
      - name: log
        config:
          meta:
            delivery: append
            format: jsonl
            record_from: "{"
            key: hash_of_record
            event_time: at
            stringified: [event]
            drop_paths: [event.text]
            files: ["log*.json*"]
        columns:
          - {name: record_hash, data_type: varchar, config: {meta: {path: "#hash"}}}
          - {name: learner, data_type: varchar, config: {meta: {pii: pseudonym, path: [user.id, user_id]}}}
          - {name: at, data_type: timestamp, config: {meta: {required: true, path: [time], unix_time: seconds}}}
          - {name: seconds, data_type: double, config: {meta: {path: [event.seconds]}}}
          - {name: body, data_type: varchar, config: {meta: {path: "$"}}}
      - name: list
        config: {meta: {delivery: snapshot, format: json_array, unwrap: [rows]}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
          - {name: learner, data_type: varchar, config: {meta: {pii: pseudonym}}}
          - {name: email, data_type: varchar, config: {meta: {pii: direct}}}
      - name: extract
        config: {meta: {delivery: snapshot, csv: {delimiter: "\t", quote: "", escape: "\\", null_values: ["\\N"]}}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
          - {name: note, data_type: varchar}
      - name: clicks
        config: {meta: {delivery: append, columns_by_position: true, encoding: cp1252, csv: {header: false}}}
        columns:
          - {name: page, data_type: varchar, config: {meta: {required: true, null_values: ["-"]}}}
          - {name: at, data_type: timestamp, config: {meta: {unix_time: milliseconds}}}
"""
"""A contract of the forms that the contracts in use may have none of."""
FORM_TABLES = ["log", "list", "extract", "clicks"]
FEW = 30
"""Examples of a contract."""
MANY = int(os.environ.get("FUZZ_EXAMPLES", "500"))
"""Examples of a table in the long version, `make fuzz`."""
COUNTED = ("examples", "files loaded", "files refused whole", "errors", "rows accepted", "rows refused")


class Fuzzed:
    """A warehouse in which every example is a source of its own, and what came of the examples."""

    def __init__(self, folder: Path, contract: str) -> None:
        self.bench = Bench(folder, FORMS if contract == "forms" else CONTRACTS[contract].path)
        self.counts: Counter[str] = Counter()

    def example(self, table_name: str, delivery: Delivery) -> None:
        bench, table = self.bench, self.bench.contract.table(table_name)
        self.counts["examples"] += 1
        source = f"s{self.counts['examples']}"
        kind = "parquet" if delivery.name.endswith(".parquet") else "csv"
        landing = bench.landing / source
        landing.mkdir()
        good = landing / file_name(table, f".{kind}")
        good.write_bytes(good_file(bench.contract, table, kind))
        assert bench.load(table.name, source, landing).accepted == 3
        before = self.state(table.name, source)
        good.unlink()
        (landing / delivery.name).write_bytes(delivery.data)

        try:
            load = bench.load(table.name, source, landing)
        except LandingError as error:
            self.check_message(str(error))
            self.counts["errors"] += 1
            assert self.state(table.name, source) == before
            self.check_nothing_is_left()
            return
        self.check_nothing_is_left()
        loaded = [file for file in load.files if file.status == "loaded"]
        for file in load.refused_files:
            self.counts["files refused whole"] += 1
            self.check_message(file.reason)
            assert (file.records, file.accepted, file.refused) == (0, 0, 0)
        if not loaded:
            assert self.state(table.name, source) == before
        for file in loaded:
            self.counts["files loaded"] += 1
            self.counts["rows accepted"] += file.accepted
            self.counts["rows refused"] += file.refused
            assert file.accepted + file.refused == file.records
            self.check_rows(table.name, source, file)
        if loaded and delivery.line_count is not None:
            assert load.records == delivery.line_count
        again = bench.load(table.name, source, landing)
        assert {file.status for file in again.files} <= {"unchanged", "refused"}
        assert [file.reason for file in again.refused_files] == [file.reason for file in load.refused_files]

    def check_rows(self, table: str, source: str, file) -> None:
        """Every record of the file is in raw or in quarantine, once; a partition holds rows of its own date only."""
        rows = [row for row in self.rows(table, source) if row["_file"] == file.name]
        refused = [row for row in self.refused(table, source) if row[0] == file.name]
        assert len(rows) == file.accepted
        assert sorted([row["_record"] for row in rows] + [record for _, record, _ in refused]) == list(
            range(1, file.records + 1)
        )
        assert all(reason for _, _, reason in refused)

    def check_message(self, message: str) -> None:
        assert message.strip()
        assert "Traceback" not in message
        assert len(message.splitlines()) == 1

    def check_nothing_is_left(self) -> None:
        assert self.bench.ledger.interrupted() == []
        assert not any(folder.exists() and any(folder.iterdir()) for folder in incoming_folders(self.bench.settings))

    def state(self, table: str, source: str) -> tuple:
        return self.rows(table, source), self.refused(table, source)

    def rows(self, table: str, source: str) -> list[dict]:
        folder = self.bench.settings.raw_dir / self.bench.contract.name / table / f"source={source}"
        if not list(folder.rglob("*.parquet")):
            return []
        with duckdb.connect() as connection:
            found = connection.execute(
                f"select _file, _record, columns(*)::varchar from read_parquet('{folder}/**/*.parquet', "
                "hive_partitioning = false) order by _file, _record"
            ).fetchall()
        return [{"_file": row[0], "_record": row[1], "values": row} for row in found]

    def refused(self, table: str, source: str) -> list[tuple]:
        found = []
        roots = (self.bench.settings.quarantine_dir, self.bench.settings.identity_dir / "quarantine")
        with duckdb.connect() as connection:
            for root in roots:
                for path in sorted((root / self.bench.contract.name / table / f"source={source}").glob("*.parquet")):
                    found += connection.execute(f"select file, record, reason from '{path}' order by record").fetchall()
        return found


def fuzz(folder: Path, contract: str, tables: list[str], examples: int) -> Counter[str]:
    """Runs examples over some tables of a contract; returns what came of them."""
    fuzzed = Fuzzed(folder, contract)
    contracts = fuzzed.bench.contract

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        table = data.draw(st.sampled_from(tables), label="table")
        fuzzed.example(table, data.draw(deliveries(contracts, contracts.table(table)), label="file"))

    run()
    return fuzzed.counts


@pytest.mark.parametrize("contract", [*sorted(CONTRACTS), "forms"])
def test_whatever_lands_every_row_is_accounted_for_or_the_file_is_refused(tmp_path, contract):
    names = FORM_TABLES if contract == "forms" else [table.name for table in CONTRACTS[contract].tables]
    counts = fuzz(tmp_path, contract, names, FEW)
    assert counts["files loaded"] > FEW / 10
    assert counts["files refused whole"] > FEW / 10


@pytest.fixture(scope="module")
def total():
    """What came of all examples; printed at the end (`-s` shows it)."""
    counts: Counter[str] = Counter()
    yield counts
    print(f"\n{'all tables':<32}{told(counts)}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("contract", "table"),
    [
        *((name, table.name) for name in sorted(CONTRACTS) for table in CONTRACTS[name].tables),
        *(("forms", name) for name in FORM_TABLES),
    ],
)
def test_whatever_lands_in_a_table(tmp_path, total, contract, table):
    counts = fuzz(tmp_path, contract, [table], MANY)
    total.update(counts)
    print(f"\n{contract + '.' + table:<32}{told(counts)}", end="  ")


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in COUNTED)
