"""Whatever arrives, in whatever order: tables made by touched entity end with the rows of a warehouse made at once.

A made university is delivered in part, then random changes come one run after the other. A second warehouse is made
from all that lies there at the end.
"""

import copy
import json
import random
import re
import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from dagster_project.analyses.at_risk.look_ahead import of_everybody
from dagster_project.defs.manifest import NODES
from dagster_project.defs.transform.lineage import column_lineages, compiled_sql
from tests.models.made_campus import COURSES, LAST_DAY, OPEN, make_campus, write_campus
from tests.models.made_source import MadeWarehouse

STEPS = 6
BY_DAY = ("core.fct_daily_activity", "marts.mart_person_course_day", "marts.mart_time_on_task")
TOUCHED = (*BY_DAY, "marts.mart_learner_course", "marts.mart_learner_program_week", "marts.mart_person_course")
OTHERS = ("oulad", "openedx", "coursera", "moodle", "canvas")
BUILD = (
    "run",
    *("--select", *(f"+{table.partition('.')[2]}" for table in TOUCHED)),
    *("--exclude", *(f"path:models/staging/{contract}" for contract in OTHERS)),
)

pytestmark = pytest.mark.timeout(900)

Rows = dict[str, list[dict]]
Changed = set[date]
"""Days of events that a load would mark."""


def at_first(rows: Rows) -> tuple[Rows, Rows]:
    """What is delivered first, and what is kept back: enrollments, a learner, the open course's videos."""
    first = copy.deepcopy(rows)
    kept: Rows = {
        "course_enrollments": [x for x in rows["course_enrollments"] if x["learner_id"] in ("l01", "l02")],
        "course_items": [x for x in rows["course_items"] if (x["course_id"], x["kind"]) == (OPEN, "video")],
        "learners": [x for x in rows["learners"] if x["learner_id"] == "l03"],
    }
    for table, those in kept.items():
        first[table] = [x for x in first[table] if x not in those]
    return first, kept


def arrives(table: str) -> Callable:
    def change(rows: Rows, kept: Rows, _: random.Random) -> Changed:
        rows[table] += kept.pop(table, [])
        return set()

    return change


def new_day(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """Events of a day after the last one, some of a type that no event had."""
    day = max(x["event_date"] for x in rows["events"]) + timedelta(chance.randint(1, 9))
    return {_add_event(rows, chance, day, day) for _ in range(5)}


def late(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """An event of an earlier day that was received weeks later."""
    day = chance.choice(rows["events"])["event_date"]
    return {_add_event(rows, chance, day, day + timedelta(chance.randint(5, 30)))}


def corrected(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """An event was another one, at another time of the day, by another learner."""
    event = chance.choice(rows["events"])
    event |= {"event_type": "page_viewed", "occurred_at": event["occurred_at"] - timedelta(minutes=50)}
    event["learner_id"] = chance.choice(rows["learners"])["learner_id"]
    return {event["event_date"]}


def withdrawn(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """A file of a day is gone."""
    day = chance.choice(rows["events"])["event_date"]
    rows["events"] = [x for x in rows["events"] if x["event_date"] != day]
    return {day}


def erased(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """A learner is gone, with all that is theirs."""
    learner = chance.choice(rows["learners"])["learner_id"]
    days = {x["event_date"] for x in rows["events"] if x["learner_id"] == learner}
    for table, those in rows.items():
        rows[table] = [x for x in those if x.get("learner_id") != learner]
    return days


def came_back(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """Somebody dropped a course and registered for it again."""
    first = chance.choice(rows["course_enrollments"])
    dropped_on = first["enrolled_at"].date() + timedelta(20)
    again = {**first, "enrolled_at": first["enrolled_at"] + timedelta(25)}
    first |= {"dropped_on": dropped_on, "completed_on": None, "final_grade": None}
    rows["course_enrollments"].append(again)
    return set()


def scored(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    chance.choice(rows["submissions"])["score"] = 1.5
    return set()


def certified(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """A certificate arrives for a course that somebody completed."""
    done = chance.choice([x for x in rows["course_enrollments"] if x["completed_on"]])
    rows["credentials"].append(
        {"credential_id": f"c{len(rows['credentials'])}-later", "learner_id": done["learner_id"], "program_id": None}
        | {"kind": "course_certificate", "course_id": done["course_id"], "issued_on": done["completed_on"]}
    )
    return set()


def moved(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    """A course ends earlier than was said."""
    chance.choice([x for x in rows["course_offerings"] if x["course_id"] != OPEN])["ends_on"] -= timedelta(9)
    return set()


def other_zone(rows: Rows, _: Rows, chance: random.Random) -> Changed:
    chance.choice(rows["programs"])["time_zone"] = "America/Lima"
    return set()


CHANGES = (
    *(arrives(table) for table in ("course_enrollments", "course_items", "learners")),
    *(new_day, new_day, late, corrected, withdrawn, erased, came_back, scored, certified, moved, other_zone),
)


def _add_event(rows: Rows, chance: random.Random, day: date, received: date) -> date:
    enrollment = chance.choice(rows["course_enrollments"])
    occurred_at = datetime.combine(day, datetime.min.time()) + timedelta(minutes=chance.randint(0, 24 * 60 - 1))
    rows["events"].append(
        {x: enrollment[x] for x in ("learner_id", "course_id", "term_id")}
        | {"event_id": 1_000_000 + len(rows["events"]), "item_id": f"i{chance.randint(0, 9)}", "event_date": day}
        | {"event_type": chance.choice(["item_completed", "video_played", "problem_checked", "forum_reply"])}
        | {"occurred_at": occurred_at, "received_at": max(occurred_at, datetime.combine(received, datetime.min.time()))}
    )
    return day


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_any_sequence_of_deliveries_ends_as_one_warehouse_made_at_once(tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311
    rows, kept = at_first(make_campus())
    other = {name: those for name, those in make_campus().items() if name != "interventions"}
    lived = MadeWarehouse(tmp_path / "lived")
    write_campus(lived.home, "uni", rows)
    write_campus(lived.home, "other", other)
    lived.build(*BUILD, contracts=["campus"])
    sizes = [len(lived.query(f"from {table}")) for table in TOUCHED]
    assert min(sizes) > 100
    told = []
    for change in chance.sample(CHANGES, STEPS):
        days = change(rows, kept, chance)
        write_campus(lived.home, "uni", rows)
        lived.build(*BUILD, rebuild={"uni": {"dates": sorted(map(str, days))}} if days else {}, contracts=["campus"])
        told.append(change.__qualname__.partition(".")[0])
    once = MadeWarehouse(tmp_path / "once")
    write_campus(once.home, "uni", rows)
    write_campus(once.home, "other", other)
    once.build(*BUILD, contracts=["campus"])
    after, anew = lived.tables(), once.tables()
    assert after.keys() == anew.keys()
    assert [table for table in anew if after[table] != anew[table]] == [], told


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> MadeWarehouse:
    """A warehouse of one source, made at once; who changes it takes a copy."""
    warehouse = MadeWarehouse(tmp_path_factory.mktemp("made"))
    write_campus(warehouse.home, "uni", make_campus())
    warehouse.build(*BUILD, contracts=["campus"])
    return warehouse


def test_a_fingerprint_holds_every_column_from_which_a_table_follows(made):
    """By what sqlglot finds in the SQL of a table and of its inputs: an eye that knows no fingerprints."""
    called = {
        table: re.search(r"\w+_inputs\(.*?\)", NODES[table]["config"]["pre-hook"][0]["sql"])[0] for table in TOUCHED
    }
    inline = "\n;;\n".join(f"{{{{ {inputs} }}}}" for inputs in called.values())
    told = made.dbt("compile", "--quiet", "--output", "json", "--inline", inline, contracts=["campus"])
    inputs = dict(zip(called, json.loads(told.stdout)["compiled"].split(";;"), strict=True))
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in made.query(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() where not internal"
    ):
        columns.setdefault(table, {})[column] = kind
    target = made.home / "target"
    rows = {table: compiled_sql(target, NODES[table]) for table in TOUCHED}
    follows, hashed = (origins(queries, columns, target / name) for name, queries in {"a": rows, "b": inputs}.items())
    for table in TOUCHED:
        # A key begins with its source, and a day's hash is that of all that was measured on it.
        left = {x for x in follows[table] - hashed[table] if x[1] != "source"}
        of_days = {x for x in left if (x[0], "day_hash") in hashed[table]}
        assert left == of_days, table
        assert not of_days or table in BY_DAY
    assert min(map(len, follows.values())) > 20


def origins(queries, columns, kept) -> dict[str, set[tuple[str, str]]]:
    lineages = column_lineages(queries, columns, kept)
    return {
        table: {(".".join(x.asset_key.path), x.column_name) for found in lineage.deps_by_column.values() for x in found}
        for table, lineage in lineages.items()
    }


def test_what_nothing_touches_is_not_written(tmp_path, made):
    """A new day leaves every row of every other day where it lies, and the rows of everybody else as they were."""
    rows = make_campus()
    shutil.copytree(made.home, tmp_path, dirs_exist_ok=True)
    warehouse = MadeWarehouse(tmp_path)
    places = {table: warehouse.query(f"select rowid, * from {table} order by rowid") for table in TOUCHED}
    day = LAST_DAY + timedelta(1)
    place = {"course_id": f"bsc-{COURSES[0]}", "term_id": "bsc-26s", "learner_id": "l02"}
    at = datetime.combine(day, datetime.min.time()) + timedelta(hours=9)
    rows["events"].append(
        {**place, "event_id": 10**6, "item_id": "i0", "event_type": "item_completed", "event_date": day}
        | {"occurred_at": at, "received_at": at}
    )
    write_campus(tmp_path, "uni", rows)
    warehouse.build(*BUILD, rebuild={"uni": {"dates": [str(day)]}}, contracts=["campus"])
    now = {table: warehouse.query(f"select rowid, * from {table} order by rowid") for table in TOUCHED}
    for table in BY_DAY:
        stayed, came = now[table][: len(places[table])], now[table][len(places[table]) :]
        assert stayed == places[table]
        assert (len(came), day in came[0]) == (1, True)
    # The row of the enrollment is another; a learner's weeks are as they were: the day's week has not ended.
    enrollment = "uni:l02:" + place["course_id"] + ":" + place["term_id"]
    before, after = ({row[1:] for row in x["marts.mart_learner_course"]} for x in (places, now))
    ((gone,), (came,)) = before - after, after - before
    assert (enrollment in gone, enrollment in came) == (True, True)
    assert now["marts.mart_learner_program_week"] == places["marts.mart_learner_program_week"]
    # The search for leaks computes marts anew by the SQL that lies there now.
    compiled = tmp_path / "target" / "compiled" / "learning_warehouse" / "models" / "marts"
    for mart in ("mart_learner_course", "mart_learner_program_week"):
        sql = next(compiled.rglob(f"{mart}.sql")).read_text()
        assert "touched_of_" in sql
        assert "touched" not in of_everybody(sql)
