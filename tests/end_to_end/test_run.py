"""`make run` from landing files to the published snapshot, as a user starts it: in a process of its own."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.definitions import defs
from dagster_project.defs import automation
from dagster_project.defs.instance.lost_runs import fail_lost_runs
from dagster_project.defs.partitions import SOURCE_TAG
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.publish import compare_snapshots
from tests.models.made_source import contract_tables, make_source
from tests.receivers import http_receiver


class Run:
    """A warehouse, a landing folder in OULAD's layout, and the command line; `seconds` that a command may take."""

    def __init__(self, folder: Path, seconds: float = 540) -> None:
        self.seconds = seconds
        self.landing = folder / "landing"
        self.home = folder / "warehouse"
        self.landing.mkdir(parents=True)
        self.settings = Settings(home=self.home)
        # Dagster's event log commits thousands of times; in memory the tests do not wait for the disk.
        memory = Path("/dev/shm")  # noqa: S108
        self.dagster_home = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else folder))
        shutil.copy(REPOSITORY / "dagster_project" / "dagster.yaml", self.dagster_home)

    def deliver(self, seed: int) -> None:
        for table, rows in make_source("any", seed).tables.items():
            self.write(table, rows)

    def write(self, table: str, rows: list[dict]) -> None:
        with (self.landing / f"{table}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(contract_tables()[table]), quoting=csv.QUOTE_ALL, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def start(self, source: str, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dagster_project", "run", "--source", source]
        command += ["--landing", str(self.landing), "--contract", "oulad", *arguments]
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"LEARNING_WAREHOUSE_HOME": str(self.home), "DAGSTER_HOME": str(self.dagster_home)}

    def run(self, source: str = "uni_a", *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(source, *arguments, **environment)
        output, _ = process.communicate(timeout=self.seconds)
        return process.returncode, output

    def erase(self, learner: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "dagster_project", "erase", "--learner", learner],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=self.seconds,
        )
        return done.returncode, done.stdout

    def run_until_killed(self, line: str, source: str = "uni_a") -> None:
        """Kill the run and its children with signal 9 as soon as it prints `line`."""
        process = self.start(source)
        for printed in process.stdout:
            if line in printed:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return
        pytest.fail(f"The run ended without printing {line!r}")

    def asked_by_the_sensor(self) -> list[dg.RunRequest]:
        """What the landing sensor of the UI, switched on now, asks for in its first ticks."""
        requests, cursor = [], None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEARNING_WAREHOUSE_HOME", str(self.home))
            patch.setenv("DAGSTER_HOME", str(self.dagster_home))
            patch.setattr(automation, "SETTLED_SECONDS", 0)
            with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
                fail_lost_runs(instance)
                for _ in range(3):
                    result = automation.landing(
                        dg.build_sensor_context(
                            instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
                        )
                    )
                    requests += result.run_requests or []
                    cursor = result.cursor
        return requests

    @property
    def snapshot(self) -> Path:
        return (self.home / "published" / "current").resolve()

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.home / "published" / "learning_warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"))
    run.deliver(seed=1)
    status, output = run.run()
    assert status == 0, output[-4000:]
    yield run, output
    shutil.rmtree(run.dagster_home)


def test_run_ends_with_what_was_built_and_where_to_look(published):
    run, output = published
    clicks = len(make_source("any", 1).tables["studentVle"])
    assert f"studentVle.csv: {clicks:,} rows loaded, 0 refused" in output
    assert "Published snapshot" in output
    assert "GiB of memory at most" in output
    assert str(run.home / "published" / "learning_warehouse.duckdb") in output


def test_run_ends_with_what_came_out_empty_and_why(published):
    _, output = published
    _, headed, told = output.partition("What came out empty, and why:\n")
    assert headed, output[-4000:]
    assert "  uni_a: drivers of retention: " in told
    assert "this source tells no first-year retention" in told
    assert "  uni_a: skills: none, since no answer to a question of a skill is known" in told


def test_nothing_is_exported_in_which_a_value_could_be_a_formula(published):
    run, _ = published
    assert [path for ending in ("csv", "tsv", "xlsx") for path in run.home.rglob(f"*.{ending}")] == []


def test_the_landing_sensor_knows_what_the_command_line_has_loaded(published):
    run, _ = published
    assert run.asked_by_the_sensor() == []


def test_every_click_is_published(published):
    run, _ = published
    clicks = sum(row["sum_click"] for row in make_source("any", 1).tables["studentVle"])
    assert run.query("select sum(click_count) from core.fct_daily_activity") == [(clicks,)]


def test_published_columns_are_described(published):
    run, _ = published
    assert run.query("select schema_name, table_name, column_name from _meta.columns where description is null") == []


def test_what_a_key_refers_to_is_told_and_is_there(published):
    run, _ = published
    told = run.query(
        "select schema_name || '.' || table_name, column_name, refers_to from _meta.columns where refers_to is not null"
    )
    assert ("reporting.course_outcomes", "course_key", "core.dim_course.course_key") in told
    assert ("marts.mart_learner_program", "first_term_key", "core.dim_term.term_key") in told
    assert ("core.dim_learner", "learner_key") not in [(table, column) for table, column, _ in told]
    for table, column, reference in told:
        there, _, key = reference.rpartition(".")
        query = f"select count(*) from {table} where {column} not in (select {key} from {there})"
        assert (table, column, run.query(query)) == (table, column, [(0,)])


def test_queries_of_the_readme_work(published):
    run, _ = published
    readme = (REPOSITORY / "warehouse" / "README.md").read_text()
    queries = [block.split("```")[0] for block in readme.split("```sql\n")[1:]]
    assert queries
    for query in queries:
        run.query(query)


def test_a_second_run_finds_nothing_new_before_dagster_is_there_and_writes_nothing(published):
    run, _ = published
    assert [path for path in (run.home / "tmp").rglob("*") if path.is_file()] == []
    before = {path: path.stat().st_mtime_ns for path in run.home.rglob("*") if path.is_file()}
    status, output = run.run()
    assert status == 0, output[-4000:]
    assert f"Nothing new: snapshot {run.snapshot.name} is up to date, and nothing was written." in output
    assert "Starting Dagster" not in output
    after = {path: path.stat().st_mtime_ns for path in run.home.rglob("*") if path.is_file()}
    assert {path.name for path in after if before.get(path) != after[path]} <= {"dagster.yaml"}


@pytest.mark.slow
@pytest.mark.timeout(4500)
def test_an_erased_learner_is_gone_everywhere_and_all_else_is_as_if_they_had_never_been(tmp_path):
    run = Run(tmp_path / "erased", seconds=1400)
    run.deliver(seed=1)
    status, output = run.run()
    assert status == 0, output[-4000:]
    (learner,) = run.query(
        "select min(learner_id) from core.dim_learner semi join core.fct_submission using (learner_key)"
    )[0]
    key = f"uni_a:{learner}"
    before = run.query("select count(*) from core.dim_learner")
    status, output = run.erase(learner)
    assert status == 0, output[-4000:]
    receipt = json.loads(next((run.home / "artifacts" / "receipts").iterdir()).read_text())
    assert receipt["rows_removed"]["raw.studentInfo"] >= 1
    assert receipt["rows_removed"]["core.fct_daily_activity"] >= 1
    assert "studentVle.csv" in receipt["landing_files_left_to_the_operator"]
    assert learner not in {word for text in _texts(receipt) for word in re.split(r"\W", text)}
    assert [path.name for path in (run.home / "published" / "snapshots").iterdir()] == [run.snapshot.name]
    assert run.query("select count(*) from core.dim_learner") == [(before[0][0] - 1,)]
    for database in (run.home / "build.duckdb", run.home / "published" / "learning_warehouse.duckdb"):
        assert tables_with(database, key) == []
    assert [path for path in run.home.rglob("*.parquet") if key.encode() in path.read_bytes()] == []

    other = Run(tmp_path / "never", seconds=1400)
    for table, rows in make_source("any", 1).tables.items():
        other.write(table, [row for row in rows if str(row.get("id_student")) != learner])
    status, output = other.run()
    assert status == 0, output[-4000:]
    differences = compare_snapshots(run.settings, run.snapshot, other.snapshot)
    assert differences == []

    status, output = run.erase(learner)
    assert status == 0, output[-4000:]
    assert "nothing is left to do" in output
    status, output = run.erase("no such learner")
    assert status == 2
    assert "No learner of source uni_a has that id" in output

    status, output = run.run()
    assert (status, "Nothing new" in output) == (0, True), output[-4000:]
    status, output = run.run("uni_a", "--everything")  # it reads the records of the runs before, which were masked
    assert status == 0, output[-4000:]
    assert "Published snapshot" in output
    assert compare_snapshots(run.settings, run.snapshot, other.snapshot) == []
    for done in (run, other):
        shutil.rmtree(done.dagster_home)


def _texts(value) -> list[str]:
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in [key, *_texts(inner)]]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [str(value)]


def tables_with(database: Path, key: str) -> list[str]:
    """Tables of a database in which a text is, or begins with, a key."""
    with duckdb.connect(str(database), read_only=True) as connection:
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' "
            "and not internal and schema_name not like 'raw%'"
        ).fetchall()
        return [
            f"{schema}.{table}.{column}"
            for schema, table, column in columns
            if connection.execute(
                f'select count(*) from "{schema}"."{table}" where "{column}" = ? or starts_with("{column}", ?)',
                [key, f"{key}:"],
            ).fetchall()[0][0]
        ]


def test_killed_while_building_leaves_the_snapshot_and_the_next_run_finishes(published):
    run, _ = published
    first = run.snapshot
    run.deliver(seed=2)
    run.run_until_killed("START sql incremental model marts.mart_learner_course_week")
    assert run.snapshot == first
    assert run.query("select count(*) > 0 from marts.mart_learner_course") == [(True,)]
    assert {request.tags[SOURCE_TAG] for request in run.asked_by_the_sensor()} == {"uni_a"}
    status, output = run.run()
    assert status == 0, output[-4000:]
    assert run.snapshot != first
    clicks = sum(row["sum_click"] for row in make_source("any", 2).tables["studentVle"])
    assert run.query("select sum(click_count) from core.fct_daily_activity") == [(clicks,)]


def test_a_failed_check_stops_the_publication_and_says_why(published):
    run, _ = published
    first = run.snapshot
    path = run.landing / "studentAssessment.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-30], *(line.replace('"0"', '"a person"') for line in lines[-30:])]) + "\n")
    with http_receiver() as receiver:
        addresses = {"LEARNING_WAREHOUSE_ALERT_ADDRESSES": f'["json://127.0.0.1:{receiver.port}/T0KEN"]'}
    status, output = run.run(**addresses)  # and nobody listens
    assert status == 1
    assert run.snapshot == first
    assert "refused_share_is_small" in output
    assert "Not published" in output
    assert "Refused rows, by reason:\n  studentAssessment: " in output
    assert re.search(r"a value is not of type integer, such as record [\d,]+ of studentAssessment.csv", output)
    assert str(run.home / "quarantine") in output
    assert "An alert was not accepted by address 1" in output
    assert "T0KEN" not in output
    with http_receiver(receiver.port) as receiver:
        status, _ = run.run(**addresses)
    assert status == 1
    assert len(receiver.received) == 2
    for message in receiver.received:
        assert "refused_share_is_small\n      rows: " in message["message"]
        assert "a person" not in message["message"]


def test_a_source_without_dated_events_is_published_and_says_so(tmp_path):
    run = Run(tmp_path)
    run.deliver(seed=1)
    run.write("studentVle", [])
    status, output = run.run()
    shutil.rmtree(run.dagster_home)
    assert "Published snapshot" in output, output[-4000:]
    assert "0 refused; no dated events." in output
    assert "Traceback" not in output
    assert status == 0


def test_an_unknown_source_is_told_what_to_do(tmp_path):
    run = Run(tmp_path)
    command = [sys.executable, "-m", "dagster_project", "run", "--source", "nobody"]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=run.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "make run SOURCE=nobody LANDING=path" in done.stderr
    assert "Traceback" not in done.stderr
