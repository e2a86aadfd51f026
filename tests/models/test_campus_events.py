"""Events of the general contract from landing files to marts: duplicates, late and fast clocks, learning time as known.

A simulated university's last months, loaded by the real loader: first as delivered until a morning, then in full. One
warehouse goes through both, another is built once from all of it.
"""

import itertools
import random
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.loader import ensure_empty_files, load_table
from dagster_project.settings import Settings
from dagster_project.simulate import write
from dagster_project.simulate.drivers import IDLE_CAP_MINUTES
from tests.models.made_source import REPOSITORY, Warehouse

MONTHS = ("2025-09", "2025-10")
CUT = date(2025, 10, 8)
FACTS, WEEKS = "core.fct_daily_activity", "marts.mart_learner_course_week"
MODELS = ("+mart_learner_course_week", "+fct_duplicate_rows", "+fct_held_rows")

pytestmark = pytest.mark.timeout(900)


@dataclass
class States:
    """All tables as delivered until the cut, then brought up to date, and built anew from all files."""

    cut: dict
    updated: dict
    anew: dict
    rebuilt_dates: tuple[date, ...]
    columns: dict[str, list[str]]
    raw_events: list[dict]


def deliver(landing: Path, folder: Path, until: date | None = None) -> None:
    """The landing files of a folder; of the events the last months, without those dated or received from `until` on."""
    shutil.copytree(landing, folder, ignore=shutil.ignore_patterns("events"), dirs_exist_ok=True)
    (folder / "events").mkdir(exist_ok=True)
    with duckdb.connect() as files:
        for path in sorted((landing / "events").glob("*.parquet")):
            if not any(month in path.name for month in MONTHS):
                continue
            later = "occurred_at >= $until or received_at >= $until"
            ((is_later,),) = files.execute(
                f"select bool_or({later}) from '{path}'", {"until": until or date.max}
            ).fetchall()
            if is_later:
                target = folder / "events" / path.name
                files.execute(f"copy (from '{path}' where not ({later})) to '{target}'", {"until": until})
            else:
                shutil.copy(path, folder / "events")


def load(home: Path, landing: Path) -> tuple[date, ...]:
    """Dates whose events changed."""
    settings = Settings(home=home)
    contracts = read_contracts(REPOSITORY / "dbt" / "models")
    for contract in contracts.values():
        ensure_empty_files(contract, settings)
    loads = {
        table.name: load_table(contracts["campus"], table.name, "campus", landing, settings)
        for table in contracts["campus"].tables
    }
    return loads["events"].changed_dates


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> States:
    folder = tmp_path_factory.mktemp("campus")
    write(folder / "university", folder / "truth.json", seed=20, students=60)
    landing = folder / "landing"

    warehouse = Warehouse(folder / "warehouse")
    warehouse.home.mkdir()
    deliver(folder / "university", landing, until=CUT)
    load(warehouse.home, landing)
    warehouse.build("run", "--select", *MODELS)
    cut = warehouse.tables()

    deliver(folder / "university", landing)
    changed = load(warehouse.home, landing)
    dates = {"dates": [str(day) for day in changed]}
    warehouse.build("run", "--select", *MODELS, rebuild={"campus": dates})
    updated = warehouse.tables()

    anew = Warehouse(folder / "anew")
    shutil.copytree(warehouse.home / "raw", anew.home / "raw")
    anew.build("run", "--select", *MODELS)
    relation = anew.query("describe raw_campus.events")
    names = [name for (name, *_) in relation]
    return States(
        cut,
        updated,
        anew.tables(),
        changed,
        {table: [name for (name, *_) in anew.query(f"describe {table}")] for table in (FACTS, WEEKS)},
        [dict(zip(names, row, strict=True)) for row in anew.query("from raw_campus.events")],
    )


def rows(states: States, state: dict, table: str) -> list[dict]:
    return [dict(zip(states.columns[table], row, strict=True)) for row in state[table]]


def first_deliveries(events: list[dict]) -> list[dict]:
    first: dict[tuple, dict] = {}
    for event in sorted(events, key=lambda row: row["received_at"]):
        first.setdefault((event["event_date"], event["event_id"]), event)
    return list(first.values())


def learning_time(events: list[dict], key: str) -> float:
    """Seconds that the learner's events in one course open, up to the next event of the learner in any course."""
    seconds = 0.0
    in_order = sorted(events, key=lambda event: (event["occurred_at"], enrollment(event), known_on(event)))
    for now, following in itertools.pairwise(in_order):
        gap = following["occurred_at"] - now["occurred_at"]
        if enrollment(now) == key and gap <= timedelta(minutes=IDLE_CAP_MINUTES):
            seconds += gap.total_seconds()
    return seconds


def enrollment(event: dict) -> str:
    return ":".join((event["source"], event["learner_id"], event["course_id"], event["term_id"]))


def known_on(event: dict) -> date:
    return max(event["occurred_at"], event["received_at"]).date()


def test_the_deliveries_hold_late_events_fast_clocks_and_duplicates(states):
    assert [event for event in states.raw_events if known_on(event) > event["occurred_at"].date()]
    assert [event for event in states.raw_events if event["occurred_at"] > event["received_at"]]
    assert len(first_deliveries(states.raw_events)) < len(states.raw_events)
    # Some of what came after the cut belongs to days before it.
    assert min(states.rebuilt_dates) < CUT


def test_each_event_counts_once_and_further_deliveries_are_counted(states):
    counted = {row[1]: row[2:] for row in states.anew["core.fct_duplicate_rows"]}
    once = len(first_deliveries(states.raw_events))
    assert counted["events"] == (len(states.raw_events), once, len(states.raw_events) - once)
    held = sum(row[3] for row in states.anew["core.fct_held_rows"] if row[1] == "events")
    assert sum(row["event_count"] for row in rows(states, states.anew, FACTS)) + held == once


def test_days_equal_those_computed_event_by_event_on_any_date(states):
    by_course: dict[str, list[dict]] = {}
    by_learner: dict[str, list[dict]] = {}
    for event in first_deliveries(states.raw_events):
        by_course.setdefault(enrollment(event), []).append(event)
        by_learner.setdefault(event["learner_id"], []).append(event)
    facts: dict[str, list[dict]] = {}
    for row in rows(states, states.anew, FACTS):
        facts.setdefault(row["course_enrollment_key"], []).append(row)
    late = {key for key in facts if any(row["known_on"] > row["activity_on"] for row in facts[key])}
    assert late
    chosen = late | set(random.Random(0).sample(sorted(facts.keys() - late), 40))  # noqa: S311

    for key in chosen:
        for last in (CUT, date.max):
            events = [event for event in by_course[key] if known_on(event) < last]
            known = [row for row in facts[key] if row["known_on"] < last]

            def days(*types: str, events=events) -> int:
                return len({event["occurred_at"].date() for event in events if event["event_type"] in types})

            def total(column: str, known=known) -> float:
                return float(sum(row[column] or 0 for row in known))

            learner = by_learner[by_course[key][0]["learner_id"]]
            assert total("learning_seconds") == learning_time([x for x in learner if known_on(x) < last], key)
            assert total("task_count") == sum(event["event_type"] == "item_completed" for event in events)
            assert total("is_first_task_known") == days("item_completed")
            assert total("is_first_forum_known") == days("forum_view", "forum_thread", "forum_reply")
            assert total("is_first_posting_known") == days("forum_thread", "forum_reply")
            assert total("forum_reply_count") == sum(event["event_type"] == "forum_reply" for event in events)


def test_courses_in_parallel_add_up_to_the_time_of_the_learner(states):
    learners: dict[str, list[dict]] = {}
    for event in first_deliveries(states.raw_events):
        learners.setdefault(event["learner_id"], []).append(event)
    found: dict[str, float] = {}
    for row in rows(states, states.anew, FACTS):
        learner = row["learner_key"].partition(":")[2]
        found[learner] = found.get(learner, 0.0) + float(row["learning_seconds"])
    assert any(len({enrollment(event) for event in events}) > 1 for events in learners.values())
    for learner, events in learners.items():
        assert found[learner] == sum(learning_time(events, key) for key in {enrollment(event) for event in events})


def test_what_was_known_until_the_cut_is_the_same_in_all_data(states):
    before = [row for row in rows(states, states.anew, FACTS) if row["known_on"] < CUT]
    assert before == rows(states, states.cut, FACTS)
    assert len(before) < len(states.anew[FACTS])

    weeks = [row for row in rows(states, states.anew, WEEKS) if row["as_of_on"] <= CUT]
    assert weeks == [row for row in rows(states, states.cut, WEEKS) if row["as_of_on"] <= CUT]
    last = [row for row in weeks if row["as_of_on"] > CUT - timedelta(days=7)]
    assert sum(row["last_week_learning_minutes"] for row in last) > 0
    assert sum(row["task_days"] for row in last) > 0


def test_deliveries_after_the_cut_lead_to_the_rows_of_a_build_from_all_of_them(states):
    assert states.updated.keys() == states.anew.keys()
    for table, expected in states.anew.items():
        assert states.updated[table] == expected, table
    assert states.cut[WEEKS] != states.anew[WEEKS]
