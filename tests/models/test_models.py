"""The models on small made data: as-of cuts, incremental runs, held and duplicate rows.

One warehouse is built once, then rebuilt in part, then anew; the tests look at its states.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import date

import duckdb
import pytest

from tests.models.made_source import MadeWarehouse, Source, day, make_source

# Week 6 of the presentations that start in October is known on this morning.
STARTED = day("2013J", 0)
CUT = day("2013J", 7 * 6)
EMPTIED = day("2013B", 20)
CORRECTED = day("2013J", 30)
NEW = day("2013J", 90)
UNKNOWN_SITE = 9999


def with_dirt(source: Source) -> Source:
    """Three students delivered twice; clicks on a site that no list has, and by a student that nobody registered."""
    tables = {name: list(rows) for name, rows in source.tables.items()}
    tables["studentInfo"] += [{**row, "region": "delivered again"} for row in tables["studentInfo"][:3]]
    click = next(row for row in tables["studentVle"] if row["code_presentation"] == "2013B" and row["date"] == 10)
    tables["studentVle"] += [{**click, "id_site": UNKNOWN_SITE, "sum_click": 7} for _ in range(5)]
    tables["studentVle"] += [{**click, "id_student": 77777, "sum_click": 11} for _ in range(2)]
    return Source(source.name, tables)


def with_latecomers(source: Source) -> Source:
    """A module whose students register weeks after its start: its first weeks never have rows."""
    tables = {name: list(rows) for name, rows in source.tables.items()}
    place = {"code_module": "CCC", "code_presentation": "2013J"}
    model = {"code_module": "AAA", "code_presentation": "2013J"}
    for table in ("courses", "studentInfo", "studentRegistration"):
        rows = [row for row in tables[table] if model.items() <= row.items()][:3]
        tables[table] += [{**row, **place} for row in rows]
    students = [row["id_student"] for row in tables["studentInfo"] if place.items() <= row.items()]
    dates = {"date_registration": 16, "date_unregistration": None}
    tables["studentRegistration"] = [
        {**row, **dates} if place.items() <= row.items() else row for row in tables["studentRegistration"]
    ]
    tables["vle"].append({**place, "id_site": 8000, "activity_type": "oucontent"})
    # Day 30 is corrected later: week 3 stays as it was built, week 7 is built again and has to know of day 17.
    for number in (17, 30, 50):
        tables["studentVle"] += [
            {**place, "id_student": student, "id_site": 8000, "date": number, "sum_click": 4} for student in students
        ]
    return Source(source.name, tables)


def with_other_events(source: Source) -> Source:
    """A date loses all its rows, one is corrected, one is new."""
    clicks = [row for row in source.tables["studentVle"] if day(row["code_presentation"], row["date"]) != EMPTIED]
    clicks = [
        {**row, "sum_click": row["sum_click"] + 100} if day(row["code_presentation"], row["date"]) == CORRECTED else row
        for row in clicks
    ]
    last = next(row for row in clicks if row["code_presentation"] == "2013J")
    clicks.append({**last, "date": 90, "sum_click": 5})
    return Source(source.name, {**source.tables, "studentVle": clicks})


def with_other_references(source: Source) -> Source:
    """In each presentation something else: what was unknown arrives, a registration goes, a student leaves, a score."""
    tables = {name: list(rows) for name, rows in source.tables.items()}
    site = next(row for row in tables["studentVle"] if row["id_site"] == UNKNOWN_SITE)
    place = {column: site[column] for column in ("code_module", "code_presentation")}
    tables["vle"].append({**place, "id_site": UNKNOWN_SITE, "activity_type": "oucontent"})
    tables["studentInfo"].append({**tables["studentInfo"][0], **place, "id_student": 77777})
    tables["studentRegistration"].append({**place, "id_student": 77777, "date_registration": -20})
    registrations = tables["studentRegistration"]
    stayed = next(
        n
        for n, row in enumerate(registrations)
        if (row["code_module"], row["code_presentation"], row["date_unregistration"]) == ("AAA", "2013J", None)
    )
    registrations[stayed] = {**registrations[stayed], "date_unregistration": 30}
    # The first assessment of BBB 2013J, see make_source.
    scored = next(n for n, row in enumerate(tables["studentAssessment"]) if row["id_assessment"] == 400)
    tables["studentAssessment"][scored] = {**tables["studentAssessment"][scored], "score": 1.0}
    # One of BBB 2013B with clicks, who did not come back: no other presentation may see a difference.
    came_back = {row["id_student"] for row in registrations if row["code_presentation"] == "2013J"}
    clicked = {row["id_student"] for row in tables["studentVle"]}
    gone = next(
        row
        for row in tables["studentInfo"]
        if (row["code_module"], row["code_presentation"]) == ("BBB", "2013B")
        and row["id_student"] in clicked - came_back
    )
    tables["studentInfo"].remove(gone)
    tables["studentRegistration"] = [
        row
        for row in registrations
        if (row["id_student"], row["code_module"], row["code_presentation"])
        != (gone["id_student"], gone["code_module"], gone["code_presentation"])
    ]
    return Source(source.name, tables)


@dataclass
class States:
    """The tables after each run, and the SQL of the run that had to read a few dates only."""

    warehouse: MadeWarehouse
    built: dict
    events_changed: dict
    references_changed: dict
    anew: dict
    events_sql: str

    def columns(self, table: str) -> list[str]:
        return [name for (name, *_) in self.warehouse.query(f"describe {table}")]


@pytest.fixture(scope="session")
def states(tmp_path_factory) -> States:
    warehouse = MadeWarehouse(tmp_path_factory.mktemp("warehouse"))
    full = with_latecomers(with_dirt(make_source("full", seed=1)))
    warehouse.deliver(full)
    warehouse.deliver(full.until(CUT, "truncated"))
    other = make_source("other", seed=2, learners=6)
    warehouse.deliver(other)
    # All models, data tests and unit tests.
    warehouse.build("build")
    built = warehouse.tables()

    full = with_other_events(full)
    warehouse.deliver(full)
    # Not named in the run, and therefore not to be seen after it.
    warehouse.replace("other", "studentVle", other.tables["studentVle"][:50])
    rebuild = {"full": {"from": str(CORRECTED), "to": str(CORRECTED), "dates": [str(EMPTIED), str(NEW)]}}
    warehouse.build("run", "--select", "int_events_summarized+", rebuild=rebuild)
    events_changed = warehouse.tables()
    folder = warehouse.home / "target/compiled/learning_warehouse/models/intermediate/activity"
    events_sql = (folder / "int_events_summarized.sql").read_text()

    warehouse.replace("other", "studentVle", other.tables["studentVle"])
    warehouse.deliver(with_other_references(full))
    warehouse.build("run", rebuild={}, slices=2)
    references_changed = warehouse.tables()

    anew = MadeWarehouse(tmp_path_factory.mktemp("anew"))
    shutil.copytree(warehouse.home / "raw", anew.home / "raw", dirs_exist_ok=True)
    # Seeds too, which a run leaves out. In slices: they are to make no difference.
    anew.build("build", "--exclude-resource-type", "test", "unit_test", slices=3)
    return States(warehouse, built, events_changed, references_changed, anew.tables(), events_sql)


def rows_of(state: dict, table: str, source: str) -> list[tuple]:
    return [row for row in state[table] if row[0] == source]


def test_rows_of_data_cut_at_week_six_equal_the_weeks_until_then_of_all_data(states):
    table = "marts.mart_learner_course_week"
    columns = states.columns(table)
    # The fingerprint holds the keys, and these hold the source's name.
    kept = [n for n, name in enumerate(columns) if name not in ("source", "inputs_hash")]
    as_of = columns.index("as_of_on")

    def comparable(source: str) -> set[tuple]:
        rows = [row for row in rows_of(states.built, table, source) if row[as_of] <= CUT]
        stripped = {
            tuple(row[n].replace(f"{source}:", "", 1) if isinstance(row[n], str) else row[n] for n in kept)
            for row in rows
        }
        assert len(stripped) == len(rows)
        return stripped

    truncated = comparable("truncated")
    assert comparable("full") == truncated
    weeks = {row[kept.index(columns.index("week_number"))] for row in truncated if row[kept.index(as_of)] > STARTED}
    assert weeks == {1, 2, 3, 4, 5, 6}


def test_the_cut_hides_something_that_the_full_data_have(states):
    table = "core.fct_daily_activity"
    assert len(rows_of(states.built, table, "truncated")) < len(rows_of(states.built, table, "full"))
    later = [
        row for row in rows_of(states.built, "marts.mart_learner_course_week", "truncated") if date(2013, 11, 13) in row
    ]
    assert not later


def test_duplicates_are_resolved_and_counted(states):
    counted = {row[1]: row[2:] for row in rows_of(states.built, "core.fct_duplicate_rows", "full")}
    assert counted["studentInfo"] == (102, 99, 3)
    assert counted["studentRegistration"][2] == 0
    # No key: equal rows are counts to be added up.
    assert counted["studentVle"][1:] == (None, None)
    regions = [row for row in rows_of(states.built, "core.dim_learner", "full") if "delivered again" in row]
    assert len(regions) == 3


def test_rows_of_unknown_references_are_held_and_counted(states):
    held = {row[1:4] for row in rows_of(states.built, "core.fct_held_rows", "full")}
    assert held == {("events", "course_items", 5), ("events", "learners", 2)}


def test_no_click_is_lost_between_raw_and_core(states):
    raw = states.warehouse.query("select sum(sum_click) from raw_oulad.studentVle where source = 'other'")
    clicks = states.columns("core.fct_daily_activity").index("click_count")
    built = sum(row[clicks] for row in rows_of(states.anew, "core.fct_daily_activity", "other"))
    assert raw == [(built,)]


def test_held_rows_enter_when_the_reference_arrives_though_no_run_names_their_date(states):
    held = rows_of(states.references_changed, "core.fct_held_rows", "full")
    # What is left is of the registration that was withdrawn meanwhile.
    assert "course_items" not in {row[2] for row in held}
    assert not [row for row in held if "77777" in row[4]]

    click_count = states.columns("core.fct_daily_activity").index("click_count")

    def entered(state: dict) -> dict:
        return {row[1:6]: row[click_count] for row in rows_of(state, "core.fct_daily_activity", "full")}

    before, after = entered(states.events_changed), entered(states.references_changed)
    more = {key: clicks - before.get(key, 0) for key, clicks in after.items() if clicks != before.get(key)}
    assert {key[3] for key in more} == {day("2013B", 10)}
    assert sorted(more.values()) == [2 * 11, 5 * 7]


def test_a_date_that_lost_all_its_rows_becomes_empty(states):
    def dates(state: dict) -> set[date]:
        return {row[4] for row in rows_of(state, "core.fct_daily_activity", "full")}

    assert EMPTIED in dates(states.built)
    assert EMPTIED not in dates(states.events_changed)
    assert NEW in dates(states.events_changed)
    assert dates(states.built) - dates(states.events_changed) == {EMPTIED}


def test_a_run_of_one_source_leaves_the_rows_of_the_others_as_they_were(states):
    # Counts of raw as it lies: not what a run makes of it.
    for table in states.built.keys() - {"core.fct_duplicate_rows"}:
        assert rows_of(states.events_changed, table, "other") == rows_of(states.built, table, "other"), table


def test_incremental_runs_end_with_the_rows_of_a_full_one(states):
    assert states.references_changed.keys() == states.anew.keys()
    for table, rows in states.anew.items():
        assert states.references_changed[table] == rows, table
    changed = [table for table, rows in states.built.items() if states.events_changed[table] != rows]
    assert "marts.mart_learner_course_week" in changed


def test_a_run_reads_the_partitions_of_its_dates_only(states):
    with duckdb.connect(str(states.warehouse.home / "build.duckdb"), read_only=True) as connection:
        plan = connection.execute(f"explain (analyze, format json) {states.events_sql}").fetchall()[0][1]
    # Of the events: the two dates that still have files; the emptied one has none.
    read = files_read(json.loads(plan)["operator"])
    assert max(read) == 2, plan


def files_read(node: dict | list) -> list[int]:
    """How many files each scan of a plan read that filters by event date."""
    if isinstance(node, list):
        return [number for part in node for number in files_read(part)]
    facts, found = node.get("extra_info") or {}, files_read(node.get("children") or [])
    if "event_date" in str(facts.get("File Filters")):
        found.append(int(facts["Total Files Read"]))
    return found


def test_a_rebuild_that_cannot_be_understood_is_refused(tmp_path):
    refused = MadeWarehouse(tmp_path).dbt("parse", rebuild={"full": {"form": "2013-01-01"}})
    assert refused.returncode != 0
    assert "Expected: {from: date, to: date}, {dates: [date, …]} or both" in " ".join(refused.stdout.split())
