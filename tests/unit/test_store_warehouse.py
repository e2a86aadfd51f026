"""Reading and writing tables from Python; what is appended survives everything."""

import os
import subprocess
import sys

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from dagster_project.base.errors import StoreError, WarehouseBusyError
from dagster_project.contracts.tables import Column, TableContract, find_direct_identifiers, read_contracts
from dagster_project.settings import Settings
from dagster_project.store.frames import to_arrow
from dagster_project.store.warehouse import Warehouse

CONTRACTS = """
sources:
  - name: analytics
    schema: analytics
    tables:
      - name: effects
        description: One row per feature and outcome.
        columns:
          - {name: feature, data_type: varchar, description: "The feature's name", config: {meta: {required: true}}}
          - {name: effect, data_type: double, description: Effect on the outcome}
          - {name: estimated_at, data_type: timestamp, description: When it was estimated}
      - name: scores
        description: One row per learner and run.
        config: {meta: {delivery: append}}
        columns:
          - {name: learner_key, data_type: varchar, description: Learner}
          - {name: risk_score, data_type: double, description: Probability of leaving}
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", memory_limit="500MB", threads=2)


@pytest.fixture
def warehouse(settings):
    return Warehouse(settings)


@pytest.fixture
def contracts(tmp_path):
    path = tmp_path / "_analytics__sources.yml"
    path.write_text(CONTRACTS)
    return read_contracts(path)


def effects(n: int = 2) -> pd.DataFrame:
    times = pd.to_datetime(["2024-01-01T12:00:00+02:00"] * n, utc=True)
    return pd.DataFrame(
        {"estimated_at": times, "effect": [i / 2 for i in range(n)], "feature": [f"f{i}" for i in range(n)]}
    )


def scores(*learners: str) -> pd.DataFrame:
    return pd.DataFrame({"learner_key": learners, "risk_score": [0.5] * len(learners)})


def test_written_table_has_columns_types_and_comments_of_its_contract(warehouse, contracts, settings):
    assert warehouse.write("analytics.effects", effects(), contracts["analytics.effects"]) == 2
    read = warehouse.read("analytics.effects")
    assert list(read.columns) == ["feature", "effect", "estimated_at"]
    assert read.estimated_at.iloc[0] == pd.Timestamp("2024-01-01 10:00:00")
    with duckdb.connect(settings.build_database, read_only=True) as connection:
        assert connection.execute(
            "select data_type, comment from duckdb_columns() where table_name = 'effects'"
        ).fetchall() == [
            ("VARCHAR", "The feature's name"),
            ("DOUBLE", "Effect on the outcome"),
            ("TIMESTAMP", "When it was estimated"),
        ]
        assert connection.execute("select comment from duckdb_tables()").fetchall() == [
            ("One row per feature and outcome.",)
        ]


def test_write_replaces_and_takes_arrow_tables_and_streams(warehouse, contracts):
    contract = contracts["analytics.effects"]
    table = pa.Table.from_pandas(effects(5))
    warehouse.write("analytics.effects", table, contract)
    assert warehouse.row_count("analytics.effects") == 5
    warehouse.write("analytics.effects", table.slice(0, 3).to_reader(), contract)
    assert warehouse.row_count("analytics.effects") == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (effects().drop(columns="effect"), "Missing: effect"),
        (effects().assign(effekt=1), "Not in the contract: effekt"),
        (effects().assign(effect=["high", "low"]), "Could not convert string 'high' to DOUBLE"),
        (effects().assign(feature=["a", None]), r"required columns: feature \(1 rows\), of 2 rows"),
    ],
)
def test_rows_that_break_the_contract_are_refused_and_the_table_stays(warehouse, contracts, rows, message):
    contract = contracts["analytics.effects"]
    warehouse.write("analytics.effects", effects(7), contract)
    with pytest.raises(StoreError, match=message) as error:
        warehouse.write("analytics.effects", rows, contract)
    assert "analytics.effects" in str(error.value)
    assert warehouse.row_count("analytics.effects") == 7


def test_read_selects_columns_and_rows(warehouse, contracts):
    warehouse.write("analytics.effects", effects(4), contracts["analytics.effects"])
    read = warehouse.read("analytics.effects", columns=["effect"], where="feature = ?", parameters=["f3"])
    assert read.to_dict("records") == [{"effect": 1.5}]


STREAM = """
import re, sys
from pathlib import Path
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse
warehouse = Warehouse(Settings(home=sys.argv[1], memory_limit="300MB", threads=1))
sizes = [
    batch.num_rows
    for batch in warehouse.batches(
        "select i, repeat('x', 50) || i as text from range(6000000) as t (i)", batch_rows=10_000
    )
]
# Not ru_maxrss: that of a child begins at its parent's.
peak_kilobytes = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(sum(sizes), max(sizes), peak_kilobytes // 1024)
"""


def test_batches_stream_a_result_larger_than_the_memory_limit(settings, warehouse, contracts):
    warehouse.write("analytics.effects", effects(), contracts["analytics.effects"])
    # 6 million rows of 70 bytes. A process of its own, since only that has a peak of its own.
    output = subprocess.check_output([sys.executable, "-c", STREAM, str(settings.home)], text=True)
    rows, largest, peak_megabytes = map(int, output.split())
    assert (rows, largest) == (6_000_000, 10_000)
    assert peak_megabytes < 250


def test_batches_of_a_table_give_every_row_in_order(warehouse, contracts):
    warehouse.write("analytics.effects", effects(1000), contracts["analytics.effects"])
    batches = list(warehouse.batches("analytics.effects", columns=["feature"], batch_rows=300))
    assert pa.Table.from_batches(batches)["feature"].to_pylist() == [f"f{i}" for i in range(1000)]


def test_missing_things_are_named_with_what_there_is_and_what_to_run(warehouse, contracts):
    with pytest.raises(StoreError, match=r"nothing has been built yet. Build it with `make run"):
        warehouse.read("analytics.effects")
    warehouse.write("analytics.effects", effects(), contracts["analytics.effects"])
    with pytest.raises(StoreError, match=r"schema analytics has: effects\..*asset analytics/scores"):
        warehouse.read("analytics.scores")
    with pytest.raises(StoreError, match="marts has no tables"):
        warehouse.row_count("marts.mart_course_term")
    with pytest.raises(StoreError, match=r"no column effekt\. It has: feature, effect, estimated_at"):
        warehouse.read("analytics.effects", columns=["effekt"])
    with pytest.raises(StoreError, match=r"expected schema\.table"):
        warehouse.read("effects")


def test_write_while_a_stream_is_open_says_so(warehouse, contracts):
    contract = contracts["analytics.effects"]
    warehouse.write("analytics.effects", effects(), contract)
    stream = warehouse.batches("analytics.effects", batch_rows=1)
    next(stream)
    with pytest.raises(WarehouseBusyError, match="iterator of batches"):
        warehouse.write("analytics.effects", effects(), contract)
    stream.close()
    warehouse.write("analytics.effects", effects(), contract)


def test_appended_rows_survive_the_deletion_of_the_build_database(warehouse, contracts, settings):
    contract = contracts["analytics.scores"]
    warehouse.append("analytics.scores", scores("a", "b"), contract, "run-1")
    warehouse.append("analytics.scores", scores("c"), contract, "run-2")
    settings.build_database.unlink()
    assert warehouse.restore(list(contracts.values())) == {"analytics.effects": 0, "analytics.scores": 3}
    assert sorted(warehouse.read("analytics.scores").learner_key) == ["a", "b", "c"]


def test_rows_that_were_refused_are_set_aside_and_kept(warehouse, contracts, settings):
    contract = contracts["analytics.scores"]
    warehouse.append("analytics.scores", scores("a"), contract, "run-1")
    warehouse.append("analytics.scores", scores("b"), contract, "run-2")
    folder = settings.artifacts_dir / "append_only" / "analytics.scores"
    os.utime(folder / "run-1.parquet", (1000, 1000))
    assert warehouse.set_aside(contract, written_after=2000) == ["run-2"]
    assert len(warehouse.read("analytics.scores")) == 1
    assert (folder.with_name("analytics.scores.refused") / "run-2.parquet").exists()
    assert warehouse.set_aside(contract, written_after=2000) == []
    warehouse.append("analytics.scores", scores("c"), contract, "run-2")
    assert len(warehouse.read("analytics.scores")) == 2


def test_same_run_appends_once(warehouse, contracts):
    contract = contracts["analytics.scores"]
    warehouse.append("analytics.scores", scores("a", "b"), contract, "run-1")
    assert warehouse.append("analytics.scores", scores("a"), contract, "run-1") == 1
    assert list(warehouse.read("analytics.scores").learner_key) == ["a"]


def test_rows_may_be_a_query_that_reads_what_was_appended_before(warehouse, contracts):
    contract = contracts["analytics.scores"]
    warehouse.append("analytics.scores", scores("a", "b"), contract, "run-1")
    again = "select * replace (learner_key || '2' as learner_key) from analytics.scores where learner_key in ('a', 'b')"
    one = "select * replace ('c' as learner_key) from analytics.scores where learner_key = 'a'"
    for _ in range(2):
        assert warehouse.append_all("analytics.scores", {"run-2": again, "run-3": one}, contract) == {
            "run-2": 2,
            "run-3": 1,
        }
    assert sorted(warehouse.read("analytics.scores").learner_key) == ["a", "a2", "b", "b2", "c"]
    with pytest.raises(StoreError, match="Missing: "):
        warehouse.append("analytics.scores", "select learner_key from analytics.scores", contract, "run-4")


def test_column_added_to_the_contract_is_null_in_older_rows(warehouse, contracts, tmp_path):
    warehouse.append("analytics.scores", scores("a"), contracts["analytics.scores"], "run-1")
    path = tmp_path / "later__sources.yml"
    path.write_text(CONTRACTS + "          - {name: model_version, data_type: integer, description: Model}\n")
    contract = read_contracts(path)["analytics.scores"]
    assert warehouse.restore([contract]) == {"analytics.scores": 1}
    warehouse.append("analytics.scores", scores("b").assign(model_version=2), contract, "run-2")
    read = warehouse.read("analytics.scores").sort_values("learner_key")
    assert read.learner_key.tolist() == ["a", "b"]
    assert read.model_version.isna().tolist() == [True, False]


def test_refused_append_leaves_no_file_behind(warehouse, contracts, settings):
    contract = contracts["analytics.scores"]
    warehouse.append("analytics.scores", scores("a"), contract, "run-1")
    with pytest.raises(StoreError, match="Could not convert"):
        warehouse.append("analytics.scores", scores("b").assign(risk_score="high"), contract, "run-2")
    folder = settings.artifacts_dir / "append_only" / "analytics.scores"
    assert [path.name for path in folder.iterdir()] == ["run-1.parquet"]


def test_append_only_table_cannot_be_replaced_nor_the_reverse(warehouse, contracts):
    with pytest.raises(StoreError, match="append-only: use append"):
        warehouse.write("analytics.scores", scores("a"), contracts["analytics.scores"])
    with pytest.raises(StoreError, match="replaced as a whole: use write"):
        warehouse.append("analytics.effects", effects(), contracts["analytics.effects"], "run-1")


def test_append_only_table_without_rows_exists_after_restore(warehouse, contracts):
    warehouse.restore(list(contracts.values()))
    assert warehouse.row_count("analytics.scores") == 0


def test_restore_makes_what_is_absent_empty_and_leaves_what_is_there(warehouse, contracts):
    assert warehouse.restore(list(contracts.values())) == {"analytics.effects": 0, "analytics.scores": 0}
    warehouse.write("analytics.effects", effects(), contracts["analytics.effects"])
    assert warehouse.restore(list(contracts.values())) == {"analytics.scores": 0}
    assert warehouse.row_count("analytics.effects") == len(effects())


def test_direct_identifiers_are_found_in_the_contracts(tmp_path):
    (tmp_path / "campus").mkdir()
    (tmp_path / "campus" / "_campus__sources.yml").write_text(
        "sources: [{name: raw_campus, tables: [{name: learners, columns: ["
        "{name: Email, data_type: varchar, config: {meta: {pii: direct}}}, "
        "{name: learner_id, data_type: varchar, config: {meta: {pii: pseudonym}}}]}]}]"
    )
    assert find_direct_identifiers(tmp_path) == {"email": "raw_campus.learners"}


COUNTS = TableContract(
    "analytics.counts",
    "Counts",
    tuple(
        Column(name, kind, name, False) for name, kind in (("n", "integer"), ("share", "double"), ("told", "varchar"))
    ),
    append_only=False,
)


def test_frames_become_the_contracts_columns_and_types():
    table = to_arrow(pd.DataFrame({"n": pd.Series([3.0, None]), "told": [None, "a"]}), COUNTS)
    assert table.to_pylist() == [{"n": 3, "share": None, "told": None}, {"n": None, "share": None, "told": "a"}]
    assert [str(kind) for kind in table.schema.types] == ["int32", "double", "string"]
    assert to_arrow(pd.DataFrame({"n": pd.Series([None], dtype=object)}), COUNTS)["n"].to_pylist() == [None]
    assert to_arrow(pd.DataFrame(), COUNTS).num_rows == 0


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"n": pd.Series([1, 3.5], dtype=object)}), "column n: found 3.5, expected integer"),
        (pd.DataFrame({"n": [1.0, float("inf")]}), "found inf"),
        (pd.DataFrame({"n": ["many"]}), "found many"),
        (pd.DataFrame({"share": ["much"]}), "column share: expected double"),
        (pd.DataFrame({"m": [1]}), "columns that its contract does not have: m"),
    ],
)
def test_values_that_a_type_does_not_hold_are_refused(frame, words):
    with pytest.raises(StoreError, match=words):
        to_arrow(frame, COUNTS)
