"""Day after day: what changed decides what runs, and what is published equals a warehouse that is built whole."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project import simulate
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.publish import compare_snapshots
from tests.end_to_end.test_run import Run
from tests.models.made_source import contract_tables

# Each run of a small source takes half a minute of CPU, and there are two dozen.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
PLAN = """
import json
from dagster_project.definitions import defs
from dagster_project.defs.planning import plan_of
from dagster_project.ingest.sources import registered_sources
from dagster_project.settings import Settings
plan = plan_of(defs.resolve_asset_graph(), Settings(), registered_sources(Settings()))
print("PLAN" + json.dumps([sorted(plan.tables), sorted(plan.checks)]))
"""
STALE = """
import json
import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster_project.definitions import defs
graph = defs.resolve_asset_graph()
with dg.DagsterInstance.get() as instance:
    status = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance)).get_status
    stale = [x for x in graph.materializable_asset_keys if status(x) == StaleStatus.STALE]
    print("STALE" + json.dumps([".".join(x.path) for x in stale]))
"""
"""What the UI marks as out of date."""
OF_EVERY_RUN = {
    *("ops.pipeline_status", "ops.pipeline_steps", "ops.pipeline_checks"),
    *("pages.pipeline_status", "published.learning_warehouse"),
}
PARTS = ("dagster_project", "dbt", "expectations", "uv.lock", "pyproject.toml")


class Days(Run):
    """A warehouse that lives through days, run by a copy of the project whose code may change."""

    def __init__(self, folder: Path, contract: str = "oulad") -> None:
        super().__init__(folder, seconds=1500)
        self.contract = contract
        self.project = folder / "project"
        self.project.mkdir()
        for part in PARTS:
            if (REPOSITORY / part).is_dir():
                ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
                shutil.copytree(REPOSITORY / part, self.project / part, ignore=ignored)
            else:
                shutil.copy(REPOSITORY / part, self.project / part)
        self.parse()
        self.settings_of_runs: dict[str, str] = {}

    def parse(self) -> None:
        """What `make setup` does when a file of dbt is newer than the manifest."""
        dbt = Path(sys.executable).parent / "dbt"
        folders = ["--project-dir", "dbt", "--profiles-dir", "dbt"]
        subprocess.run([dbt, "--quiet", "parse", *folders], cwd=self.project, check=True, env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        found = super().environment | getattr(self, "settings_of_runs", {})
        return {name: value for name, value in found.items() if name != "PYTHONPATH"}

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.project / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        if file.startswith("dbt/"):
            self.parse()

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=self.seconds,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def planned(self) -> tuple[set[str], set[str]]:
        tables, checks = json.loads(self.command("-c", PLAN).partition("PLAN")[2])
        return set(tables), set(checks)

    def stale(self) -> set[str]:
        return set(json.loads(self.command("-c", STALE).partition("STALE")[2]))

    def day(self, *arguments: str) -> str:
        is_known = (self.home / "sources.json").exists()
        given = [] if is_known else ["--landing", str(self.landing), "--contract", self.contract]
        return self.command("-m", "dagster_project", "run", "--source", "uni_a", *given, *arguments)

    def made(self, run: int = 0) -> tuple[set[str], set[str]]:
        """Tables and pages that a run made, and checks that it judged; 0: the last one, 1: the one before."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self.dagster_home))
            with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
                run_id = instance.get_runs(limit=run + 1)[run].run_id
                events = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
        made = {".".join(x.asset_key.path) for x in events if x.is_step_materialization}
        found = [x.asset_check_evaluation_data for x in events if x.event_type_value == "ASSET_CHECK_EVALUATION"]
        return made, {f"{'.'.join(x.asset_key.path)}:{x.check_name}" for x in found}

    def cohorts(self) -> tuple[str, str]:
        """Cohorts with a known end: in the mart, and when the effects of drivers were estimated."""
        known = "select count(distinct (source, first_term_key)) from marts.mart_learner_program"
        noted = "select marker from ops.data_versions where table_name = 'analytics.driver_effects'"
        with duckdb.connect(str(self.home / "build.duckdb"), read_only=True) as connection:
            (found,) = connection.execute(f"{known} where is_retained is not null").fetchone()
            return f"uni_a: {found}", connection.execute(noted).fetchone()[0]

    def append(self, table: str, **values) -> None:
        """A row more in a landing file: the last one with other values."""
        path = self.landing / f"{table}.csv"
        with path.open(newline="") as file:
            row = list(csv.DictReader(file))[-1] | {name: str(value) for name, value in values.items()}
        with path.open("a", newline="") as file:
            csv.DictWriter(file, list(contract_tables()[table]), quoting=csv.QUOTE_ALL).writerow(row)

    def learner(self) -> str:
        with (self.landing / "studentInfo.csv").open(newline="") as file:
            return next(csv.DictReader(file))["id_student"]


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    days = Days(tmp_path_factory.mktemp("days"))
    days.deliver(seed=1)
    days.day()
    yield days
    shutil.rmtree(days.dagster_home)


def file(days: Days) -> None:
    days.append("studentVle", date=17, sum_click=3)


def week_turned(days: Days) -> None:
    days.append("studentVle", date=260, sum_click=1)


def reference(days: Days) -> None:
    days.append("vle", id_site=987654)


def setting(days: Days) -> None:
    days.settings_of_runs["LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE"] = "8"


def sql(days: Days) -> None:
    days.edit("dbt/models/reporting/program_retention.sql", "from protected\n", "from protected -- new\n")


def code_of_an_analysis(days: Days) -> None:
    days.edit("dagster_project/analyses/skills/gaps.py", '"""Courses for', '"""Edited. Courses for')


def expectation(days: Days) -> None:
    path = days.project / "expectations" / "marts.mart_course.json"
    suite = json.loads(path.read_text())
    suite["expectations"][0]["meta"] = suite["expectations"][0].get("meta", {}) | {"edited": True}
    path.write_text(json.dumps(suite, indent=2))


def seed(days: Days) -> None:
    days.edit("dbt/seeds/at_risk_actions.csv", "Invite to a study group", "Ask to join a study group")


def contract(days: Days) -> None:
    file = "dbt/models/staging/oulad/_oulad__sources.yml"
    days.edit(file, "First week in which the site is planned", "First week, edited, in which the site is planned")


def publication_key(days: Days) -> None:
    days.settings_of_runs["LEARNING_WAREHOUSE_PUBLICATION_KEY"] = "0123456789abcdef0123456789abcdefXYZ"


def erasure(days: Days) -> None:
    days.command("-m", "dagster_project", "erase", "--learner", days.learner(), "--source", "uni_a")


def clock(days: Days) -> None:
    days.settings_of_runs["LEARNING_WAREHOUSE_CLOCK"] = "2036-11-30T03:00:00"


REPORTS = {"reporting.program_retention"}
CHANGES = {
    # Of each change: tables that must be made, tables that must not.
    file: ({"raw_oulad.studentVle", "marts.mart_learner_course_week"}, {"core.dim_course", "raw_oulad.vle"}),
    week_turned: ({"raw_oulad.studentVle", "analytics.at_risk_scores"}, {"core.dim_course", "raw_oulad.vle"}),
    reference: ({"raw_oulad.vle", "core.dim_course_item"}, {"raw_oulad.studentVle", "raw_oulad.studentInfo"}),
    setting: ({"analytics.skill_benchmarks"}, {"raw_oulad.vle", "core.fct_daily_activity", "marts.mart_course_week"}),
    sql: (REPORTS, {"marts.mart_program", "analytics.driver_effects"}),
    code_of_an_analysis: ({"analytics.skill_gaps"}, {"analytics.skill_scales", "marts.mart_program"}),
    expectation: (set(), {"marts.mart_course"}),
    seed: ({"learners.call_list"}, {"marts.mart_program", "analytics.driver_effects"}),
    contract: (set(), {"core.dim_course"}),
    publication_key: ({"published.learning_warehouse"}, {"core.dim_course", "marts.mart_program"}),
    erasure: (set(), set()),  # done by the command; nothing is left for the run
    clock: (set(), {"core.dim_course", "marts.mart_program"}),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_runs_exactly_what_is_planned(days, change):
    before = days.snapshot
    change(days)
    tables, checks = days.planned()
    output = days.day()
    wanted, unwanted = CHANGES[change]
    assert wanted <= tables
    assert not unwanted & tables
    if not tables and not checks:
        assert "Nothing new" in output
        assert change in (contract, erasure, clock)
        return
    made, judged = days.made()
    print(f"{change.__name__}: {len(tables)} tables and {len(checks)} checks planned, {len(made)} made")
    assert made == tables | OF_EVERY_RUN
    assert checks <= judged
    assert days.snapshot != before
    if change is sql:
        assert made - OF_EVERY_RUN - {name for name in made if name.startswith("pages.")} == REPORTS
        # Days before brought data: what waits for a week is out of date, and nothing else.
        assert {name for name in days.stale() if not name.startswith("analytics.driver_")} == set()
    again = days.day()
    assert "Nothing new" in again


def test_after_all_of_it_the_snapshot_equals_one_that_is_built_whole(days):
    kept = days.home.parent / "kept"
    shutil.copytree(days.snapshot, kept)
    days.day("--everything")
    assert compare_snapshots(Settings(home=days.home), kept, days.snapshot) == []


def test_nothing_new_writes_nothing_and_costs_next_to_nothing(days):
    state = {path: path.stat().st_mtime_ns for path in days.home.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "dagster_project", "run", "--source", "uni_a"]
    child = subprocess.Popen(command, cwd=days.project, env=days.environment, stderr=subprocess.PIPE, text=True)
    _, status, used = os.wait4(child.pid, 0)
    told = child.stderr.read()
    assert status == 0, told
    assert re.search(r"Nothing new: snapshot \S+ is up to date", told)
    assert used.ru_utime + used.ru_stime <= 3
    after = {path: path.stat().st_mtime_ns for path in days.home.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != state.get(path)} <= {days.home / "dagster" / "dagster.yaml"}


def test_a_cohort_that_matures_in_what_a_run_builds_has_its_effects_with_the_same_command(tmp_path):
    """When a run is planned, nobody knows that the file which arrives ends a cohort's first year: the models tell."""
    days = Days(tmp_path, "campus")
    days.settings_of_runs["LEARNING_WAREHOUSE_MAXIMUM_REFUSED_SHARE"] = "0.1"  # of few rows the planted dirt is many
    everything = tmp_path / "everything"
    simulate.write(everything, tmp_path / "truth.json", seed=7, students=40)
    newest = sorted((everything / "events").iterdir())[-6:]
    shutil.copytree(everything, days.landing, dirs_exist_ok=True, ignore=lambda *_: {path.name for path in newest})
    days.day()
    before, estimated = days.cohorts()
    assert estimated == before
    for path in newest:
        shutil.copy(path, days.landing / "events")
    planned, _ = days.planned()
    assert "marts.mart_learner_program" in planned
    assert "analytics.driver_effects" not in planned
    days.day()
    now, estimated = days.cohorts()
    assert now != before
    assert estimated == now
    assert days.made(run=1)[0] == planned | OF_EVERY_RUN
    assert {"analytics.driver_effects", "reporting.driver_effects"} <= days.made()[0]
    assert "marts.mart_learner_program" not in days.made()[0]
    assert "Nothing new" in days.day()
    kept = tmp_path / "kept"
    shutil.copytree(days.snapshot, kept)
    days.day("--everything")
    assert compare_snapshots(Settings(home=days.home), kept, days.snapshot) == []


def test_two_universities_on_one_contract_are_published_together_and_wait_for_no_file_of_each_other(tmp_path):
    days = Days(tmp_path)
    days.deliver(seed=1)
    days.day()
    of_b = shutil.copytree(days.landing, tmp_path / "landing_of_b")
    learners = "select count(*) from core.dim_learner where source = "
    before = days.query(learners + "'uni_a'")
    days.command("-m", "dagster_project", "run", "--source", "uni_b", "--landing", str(of_b), "--contract", "oulad")
    assert days.query(learners + "'uni_a'") == days.query(learners + "'uni_b'") == before
    # Effects of drivers of the first one are kept for their week: the second one's wait for none.
    assert "analytics.driver_effects" in days.made()[0]
    assert set(days.query("select source from reporting.driver_effects")) == {("uni_a",), ("uni_b",)}
    assert "Nothing new" in days.day()
    assert "Nothing new" in days.command("-m", "dagster_project", "run", "--source", "uni_b")
    file(days)
    planned, _ = days.planned()
    days.day()
    assert days.made()[0] == planned | OF_EVERY_RUN
    assert "Nothing new" in days.command("-m", "dagster_project", "run", "--source", "uni_b")
    kept = tmp_path / "kept"
    shutil.copytree(days.snapshot, kept)
    days.day("--everything")
    assert compare_snapshots(Settings(home=days.home), kept, days.snapshot) == []
