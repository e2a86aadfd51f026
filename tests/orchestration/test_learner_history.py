"""Attributes of learners with validity: deliveries written by hand, and the states that they must give worked out.

day 1, 2 March    ann ES -         ben NL -            cem FR full_time
day 2, 9 March    ann DE -         ben NL -            cem FR full_time   dora IT -     country of ann; dora is new
day 3, 16 March   ann ES -         ben NL bachelor     (no cem)           dora IT -     back to an earlier value,
                                                                                        null to a value, one is gone
day 4, 23 March   as day 3, and cem FR full_time                                        one comes back as he was
"""

import csv
import json
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.analyses import learner_changes as analysis
from dagster_project.analyses.learner_changes import ATTRIBUTES, TABLE
from dagster_project.analyses.tables import CONTRACTS as ANALYTICS
from dagster_project.base.locks import WriteLock
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.learner_changes import assets
from dagster_project.defs.resources import WarehouseResource
from dagster_project.defs.transform.assets import NODES
from dagster_project.ingest.erasure import unload
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.loader import ensure_empty_files, load_table
from dagster_project.ingest.requests import ErasureError, Erasures, learner_keys
from dagster_project.ingest.sources import Source
from dagster_project.privacy.erasure.request import ask
from dagster_project.privacy.erasure.stages import unbuild
from dagster_project.store.warehouse import Warehouse
from tests.models.made_source import MadeWarehouse

CAMPUS = CONTRACTS["campus"]
HISTORY = "core.dim_learner_history"
PEOPLE = ("ann", "ben", "cem", "dora")
DAYS = [date(2026, 3, day) for day in (2, 9, 16, 23)]
ANN, BEN = ("ann", "ES", "", ""), ("ben", "NL", "", "")
CEM, DORA = ("cem", "FR", "", "full_time"), ("dora", "IT", "", "")
BEN_LATER = ("ben", "NL", "bachelor", "")
DELIVERIES = [
    [ANN, BEN, CEM],
    [("ann", "DE", "", ""), BEN, CEM, DORA],
    [ANN, BEN_LATER, DORA],
    [ANN, BEN_LATER, DORA, CEM],
]
ONE, TWO, THREE, FOUR = DAYS
# learner, valid_from, valid_to, is_current, country, education_level
OF_ANN = [
    ("ann", 1, ONE, TWO, False, "ES", None),
    ("ann", 2, TWO, THREE, False, "DE", None),
    ("ann", 3, THREE, None, True, "ES", None),
]
OF_BEN = [("ben", 1, ONE, THREE, False, "NL", None), ("ben", 2, THREE, None, True, "NL", "bachelor")]
OF_CEM = [("cem", 1, ONE, None, True, "FR", None)]
OF_DORA = [("dora", 1, TWO, None, True, "IT", None)]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, dict]:
    """The models up to the history and their tests, as dbt compiles them."""
    made = MadeWarehouse(tmp_path_factory.mktemp("compiled"))
    done = made.dbt("compile", "--select", "+dim_learner_history")
    assert done.returncode == 0, done.stdout[-4000:]
    nodes = json.loads((made.home / "target" / "manifest.json").read_text())["nodes"]
    return {name: node for name, node in nodes.items() if node.get("compiled_code")}


class University:
    """A warehouse to which one university, or two, deliver their learners."""

    def __init__(self, settings, models, monkeypatch) -> None:
        self.settings, self.models, self.monkeypatch = settings, models, monkeypatch
        self.store = Warehouse(settings)
        self.prepare()

    def prepare(self) -> None:
        """What stands in a new build database before the first model."""
        self.store.restore([ANALYTICS[TABLE]])
        with duckdb.connect(self.settings.build_database) as connection:
            for contract in CONTRACTS.values():
                ensure_empty_files(contract, self.settings)
                connection.execute(f"create schema {contract.schema}")
                for table in contract.tables:
                    files = self.settings.raw_dir / contract.name / table.name / "**" / "*.parquet"
                    connection.execute(
                        f"create view {contract.schema}.\"{table.name}\" as from read_parquet('{files}', "
                        "hive_partitioning = true, union_by_name = true, hive_types = {source: varchar})"
                    )

    def deliver(self, on: date, learners: list[tuple], source: str = "uni", hour: int = 3) -> None:
        self.monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", f"{on}T{hour:02}:00:00")
        folder = self.landing(source)
        folder.mkdir(parents=True, exist_ok=True)
        columns = ["learner_id", "country", "education_level", "employment_status"]
        with (folder / "learners.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([column.name for column in CAMPUS.table("learners").columns])
            for row in learners:
                known = dict(zip(columns, row, strict=True)) | {"registered_at": "2020-01-01 00:00:00"}
                writer.writerow([known.get(column.name, "") for column in CAMPUS.table("learners").columns])
        load_table(CAMPUS, "learners", source, folder, self.settings)

    def build(self, *tables: str) -> None:
        with duckdb.connect(self.settings.build_database) as connection:
            for name in self.ordered(tables):
                node = self.models[name]
                kind = "view" if node["config"]["materialized"] == "view" else "table"
                relation = f"{node['schema']}.{node['name']}"
                connection.execute(f"create schema if not exists {node['schema']}")
                connection.execute(f"create or replace {kind} {relation} as {node['compiled_code']}")

    def ordered(self, names) -> list[str]:
        found: dict[str, None] = {}

        def visit(name: str) -> None:
            for parent in self.models[name]["depends_on"]["nodes"]:
                if parent in self.models and parent.startswith("model."):
                    visit(parent)
            found[name] = None

        for name in names:
            visit(NODES[name]["unique_id"])
        return list(found)

    def append(self) -> None:
        assert dg.materialize([assets.learner_changes], resources={"warehouse": WarehouseResource()}).success

    def run(self) -> list[tuple]:
        """What a run does from dim_learner to its history; every test of the history passes."""
        self.build("core.dim_learner")
        self.append()
        self.build(HISTORY)
        assert self.failed() == []
        return self.history()

    def failed(self) -> list[str]:
        with duckdb.connect(self.settings.build_database, read_only=True) as connection:
            return self.failed_on(connection)

    def failed_on(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        tests = [x for x in self.models.values() if x["resource_type"] == "test" and "learner_history" in x["name"]]
        assert len(tests) == 8
        return [x["name"] for x in tests if connection.execute(x["compiled_code"]).fetchall()]

    def history(self, source: str = "uni") -> list[tuple]:
        names = {self.key(person, source): person for person in PEOPLE}
        columns = ["learner_key", "learner_history_key", "valid_from", "valid_to", "is_current", "country"]
        rows = self.store.read(HISTORY, [*columns, "education_level"], "source = ?", [source]).astype(object)
        found = []
        for key, state, valid_from, valid_to, *rest in rows.where(rows.notna(), None).itertuples(index=False):
            assert state.startswith(f"{key}:")
            number = int(state.removeprefix(f"{key}:"))
            found.append((names[key], number, valid_from.date(), valid_to and valid_to.date(), *rest))
        return sorted(found, key=lambda row: row[:2])

    def changes(self) -> list[tuple]:
        return sorted(self.store.read(TABLE)[["learner_key", "changed_on", "country"]].itertuples(index=False))

    def key(self, person: str, source: str = "uni") -> str:
        return learner_keys(CAMPUS, source, person, Erasures(self.settings).key)[0]

    def erase(self, person: str) -> None:
        lock = WriteLock(self.settings, run_id="test", what="test")
        ask(self.settings, CAMPUS, Source("uni", "campus", self.landing("uni")), person, lock)
        unload(CAMPUS, "uni", self.settings, lambda line: None)
        unbuild(self.settings)

    def landing(self, source: str) -> Path:
        return self.settings.home.parent / "landing" / source


@pytest.fixture
def university(settings, models, monkeypatch) -> University:
    return University(settings, models, monkeypatch)


def play(university: University, days: int) -> list[tuple]:
    for on, learners in list(zip(DAYS, DELIVERIES, strict=True))[:days]:
        university.deliver(on, learners)
        rows = university.run()
    return rows


def test_days_one_by_one(university):
    university.deliver(ONE, DELIVERIES[0])
    assert university.run() == [
        ("ann", 1, ONE, None, True, "ES", None),
        ("ben", 1, ONE, None, True, "NL", None),
        ("cem", 1, ONE, None, True, "FR", None),
    ]
    university.deliver(TWO, DELIVERIES[1])
    assert university.run() == [
        ("ann", 1, ONE, TWO, False, "ES", None),
        ("ann", 2, TWO, None, True, "DE", None),
        ("ben", 1, ONE, None, True, "NL", None),
        ("cem", 1, ONE, None, True, "FR", None),
        ("dora", 1, TWO, None, True, "IT", None),
    ]
    university.deliver(THREE, DELIVERIES[2])
    assert university.run() == OF_ANN + OF_BEN + OF_DORA
    # Of whom no delivery tells any more, nothing is said; he is back as he was, without a gap and without a new state.
    university.deliver(FOUR, DELIVERIES[3])
    assert university.run() == OF_ANN + OF_BEN + OF_CEM + OF_DORA
    # ann 3, ben 2, cem 1, dora 1.
    assert len(university.changes()) == 7


def test_what_tells_nothing_new_gives_no_row(university):
    before = play(university, 3)
    changes = university.changes()
    # The same file, the same rows in another order, and a day without any delivery.
    university.deliver(FOUR, DELIVERIES[2])
    assert university.run() == before
    university.deliver(FOUR, DELIVERIES[2][::-1])
    assert university.run() == before
    university.monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", "2026-05-01T00:00:00")
    assert university.run() == before
    assert university.changes() == changes
    assert university.store.appended(ANALYTICS[TABLE]) == [f"uni.{day}" for day in DAYS[:3]]


def test_of_two_deliveries_of_a_day_the_last_one_counts(university):
    before = play(university, 3)
    university.deliver(FOUR, [("ann", "PT", "", ""), BEN_LATER, DORA], hour=3)
    assert ("ann", 4, FOUR, None, True, "PT", None) in university.run()
    university.deliver(FOUR, DELIVERIES[2], hour=9)  # corrected: as if it had never been said
    assert university.run() == before
    university.deliver(FOUR, [("ann", "GR", "", ""), BEN_LATER, DORA], hour=15)
    assert ("ann", 4, FOUR, None, True, "GR", None) in university.run()


def test_a_run_that_was_killed_or_comes_a_day_late_gives_the_day_of_the_delivery(university, monkeypatch):
    university.deliver(ONE, DELIVERIES[0])
    university.run()
    university.deliver(TWO, DELIVERIES[1], hour=23)

    def die(*_):
        raise KeyboardInterrupt

    university.build("core.dim_learner")
    with monkeypatch.context() as patch:  # the file of the day is written, the table is not
        patch.setattr(Warehouse, "_restore", die)
        with pytest.raises(KeyboardInterrupt):
            analysis.append_changes(university.store, university.settings, {"uni": TWO}, TWO)
    assert university.store.appended(ANALYTICS[TABLE]) == [f"uni.{ONE}", f"uni.{TWO}"]
    university.monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", f"{THREE}T01:00:00")
    assert university.run() == [
        ("ann", 1, ONE, TWO, False, "ES", None),
        ("ann", 2, TWO, None, True, "DE", None),
        ("ben", 1, ONE, None, True, "NL", None),
        *OF_CEM,
        *OF_DORA,
    ]


def test_everything_again_and_a_new_build_database_give_the_same(university):
    before, changes = play(university, 4), university.changes()
    university.monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", "2026-06-01T00:00:00")
    assert (university.run(), university.changes()) == (before, changes)
    university.settings.build_database.unlink()
    university.prepare()
    assert (university.run(), university.changes()) == (before, changes)


def test_a_source_has_its_own_days(university):
    university.deliver(ONE, DELIVERIES[0])
    university.deliver(TWO, [ANN], "other")
    university.run()
    university.deliver(TWO, DELIVERIES[1])
    university.run()
    university.deliver(THREE, [("ann", "FR", "", "")], "other")
    university.run()
    assert university.history("other") == [
        ("ann", 1, TWO, THREE, False, "ES", None),
        ("ann", 2, THREE, None, True, "FR", None),
    ]
    assert [row[:4] for row in university.history() if row[0] == "ann"] == [
        ("ann", 1, ONE, TWO),
        ("ann", 2, TWO, None),
    ]


def test_a_clock_that_was_set_back_ends_no_state_before_it_began(university):
    play(university, 3)
    university.deliver(ONE, [("ann", "PT", "", ""), BEN_LATER, DORA])
    # As if the third delivery had said so.
    assert university.run() == [*OF_ANN[:2], ("ann", 3, THREE, None, True, "PT", None), *OF_BEN, *OF_DORA]


def test_a_source_of_which_nobody_noted_the_day_begins_today(university):
    university.deliver(ONE, DELIVERIES[0])
    university.build("core.dim_learner")
    appended = analysis.append_changes(university.store, university.settings, {}, TWO)
    assert appended == {"uni": 3}
    assert analysis.append_changes(university.store, university.settings, {}, THREE) == {"uni": 3}
    assert {row[1].date() for row in university.changes()} == {TWO}


def test_an_erased_learner_is_gone_from_every_day(university):
    play(university, 4)
    university.erase("ann")
    files = list((university.settings.artifacts_dir / "append_only" / TABLE).glob("*.parquet"))
    told = "".join(repr(duckdb.sql(f"from read_parquet('{path}')").fetchall()) for path in files)
    assert university.key("ann") not in told
    assert university.key("ben") in told
    assert {row[0] for row in university.history()} == {"ben", "cem", "dora"}
    assert university.run() == OF_BEN + OF_CEM + OF_DORA
    university.deliver(date(2026, 3, 30), DELIVERIES[3])  # their file still has her
    assert university.run() == OF_BEN + OF_CEM + OF_DORA


def test_who_is_in_no_delivery_any_more_can_be_erased(university):
    play(university, 3)
    assert university.key("cem") in {row[0] for row in university.changes()}
    university.erase("cem")
    assert university.key("cem") not in {row[0] for row in university.changes()}
    assert [x.removed for x in Erasures(university.settings).all()] == [{f"files of {TABLE}": 1, TABLE: 1}]
    with pytest.raises(ErasureError, match="No learner of source uni has that id"):
        university.erase("nobody")


SPOILT = (
    ("update {0} set valid_to = valid_to - 1 where valid_to is not null", "assert_learner_history_is_whole"),
    ("update {0} set valid_to = valid_to + 1 where valid_to is not null", "assert_learner_history_is_whole"),
    ("update {0} set valid_to = null, is_current = true", "assert_learner_history_is_whole"),
    ("update {0} set country = 'PT' where is_current", "assert_learner_history_is_whole"),
    ("update {0} set education_level = null where is_current", "assert_learner_history_is_whole"),
    ("delete from {0} where is_current and country = 'NL'", "assert_learner_history_is_whole"),
    ("update {0} set learner_key = 'uni:nobody'", "relationships_dim_learner_history"),
    ("insert into {0} from {0} where is_current", "unique_dim_learner_history"),
)


def test_a_history_that_is_not_whole_is_found(university):
    play(university, 3)
    with duckdb.connect(university.settings.build_database) as connection:
        for statement, test in SPOILT:
            connection.execute("begin")
            connection.execute(statement.format(HISTORY))
            assert [x for x in university.failed_on(connection) if x.startswith(test)], statement
            connection.execute("rollback")
        assert university.failed_on(connection) == []


def test_every_attribute_of_a_learner_has_a_history():
    """All that dim_learner tells but for its keys and the time of registration, which belongs to no state."""
    described = set(NODES["core.dim_learner"]["columns"])
    assert set(ATTRIBUTES) == described - {"source", "learner_key", "learner_id", "registered_at"}
    assert set(NODES[HISTORY]["columns"]) >= set(ATTRIBUTES)


def test_the_day_is_that_of_the_tables_that_learners_are_made_from(university):
    university.deliver(ONE, DELIVERIES[0])
    university.monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", f"{TWO}T03:00:00")
    (university.landing("uni") / "skills.csv").write_text("skill_id,skill_name,competency,domain\nsql,SQL,data,it\n")
    load_table(CAMPUS, "skills", "uni", university.landing("uni"), university.settings)
    assert assets.delivered_on(Ledger(university.settings)) == {"uni": ONE}
    assert Ledger(university.settings).last_loads("campus", ["skills"])["uni"].date() == TWO
