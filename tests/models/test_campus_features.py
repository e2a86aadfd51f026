"""The marts of a simulated university, from landing files through loader and dbt: equal to the simulation's own tables,
and to a second computation in plain Python that shares no code with either.
"""

import csv
import itertools
import math
import random
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from statistics import mean, median

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project import simulate
from dagster_project.analyses.at_risk.look_ahead import CHECKED_WEEKS, RECOUNTED, recounted_leaks
from dagster_project.analyses.at_risk.scoring import read_active
from dagster_project.analyses.at_risk.subjects import COURSES, PROGRAMS, SUBJECTS
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import ensure_empty_files, load_table
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse as Store
from tests.models.made_source import Warehouse

# A minute of CPU before the first test: loading and building.
pytestmark = pytest.mark.timeout(900)
SEED, STUDENTS, SAMPLE = 5, 300, 200
TOLERANCE = 1e-9
IDLE_CAP = timedelta(minutes=30)
PASSING_SHARE = 0.8
SMALLEST_GROUP = 2  # other learners of an offering: so small a university has few with more
# The simulation takes the others of all terms together, the mart those of the same version and term.
KNOWN = ("retained", "not_retained")  # of graduates the simulation has no row
OF_OTHERS = {"course_median_days_active", "course_learning_minutes_per_week"}
# Planted course by course; where a clock runs fast, or one course follows another at once, a pause between the two
# counts for the first. Recomputed from the events below.
OF_SESSIONS = {"learning_hours", "first_deadline_learning_hours", "midpoint_learning_hours"}


@dataclass
class Campus:
    """The university three times: as its files, as the simulation says, and as the warehouse has it."""

    landing: Path
    settings: Settings
    warehouse: Warehouse
    tables: simulate.AnalysisTables

    def learner_key(self, learner_id: str) -> str:
        return "campus:" + keyed_hash(learner_id, read_key(self.settings))

    def rows(self, mart: str, key: str) -> dict[str, dict]:
        columns = [name for (name, *_) in self.warehouse.query(f"describe marts.{mart}")]
        rows = self.warehouse.query(f"from marts.{mart} where source = 'campus'")
        return {row[key]: row for row in (dict(zip(columns, values, strict=True)) for values in rows)}

    @cached_property
    def learner_programs(self) -> dict[str, dict]:
        return self.rows("mart_learner_program", "program_enrollment_key")

    @cached_property
    def learner_courses(self) -> dict[str, dict]:
        return self.rows("mart_retention_learner_course", "course_enrollment_key")

    @cached_property
    def versions(self) -> dict[str, dict]:
        return self.rows("mart_course_version", "course_version_key")


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Campus:
    folder = tmp_path_factory.mktemp("campus")
    landing, settings = folder / "landing", Settings(home=folder / "warehouse")
    simulate.write(landing, folder / "truth.json", SEED, STUDENTS)
    contracts = read_contracts(REPOSITORY / "dbt" / "models")
    for contract in contracts.values():
        ensure_empty_files(contract, settings)
    for table in contracts["campus"].tables:
        load_table(contracts["campus"], table.name, "campus", landing, settings)
    warehouse = Warehouse(settings.home)
    warehouse.build(
        "build",
        "--select",
        "+feature_coverage",
        "mart_retention_learner_course",
        "+mart_learner_program_week",
        "feature_course_weeks",
        "feature_program_weeks",
        "--exclude-resource-type",
        "test",
        "unit_test",
        smallest_course_group=SMALLEST_GROUP,
    )
    return Campus(landing, settings, warehouse, simulate.tables(SEED, STUDENTS))


def assert_same(expected: dict, found: dict, names: list[str], what: str) -> None:
    for name in names:
        a, b = expected[name], found[name]
        if isinstance(a, str) or a is None or b is None:
            assert a == b, f"{what}, {name}: {a} expected, {b} found"
        else:
            assert abs(float(a) - float(b)) <= TOLERANCE, f"{what}, {name}: {a} expected, {b} found"


# Against the simulation's tables


def shared(table: pa.Table, row: dict) -> list[str]:
    return [name for name in table.column_names if name in row and not name.endswith("_id")]


def test_learners_in_programs_are_those_of_the_simulation_in_every_column(campus):
    table = campus.tables.learner_program
    expected = {f"{campus.learner_key(row['learner_id'])}:{row['program_id']}": row for row in table.to_pylist()}
    found = {key: row for key, row in campus.learner_programs.items() if row["next_year_state"] in KNOWN}
    assert expected.keys() == found.keys()
    names = shared(table, next(iter(found.values())))
    assert set(table.column_names) - set(names) == {"learner_id", "program_id", "first_term_id"}
    for key, row in expected.items():
        assert_same(row, found[key], names, key)


def test_learners_in_courses_are_those_of_the_simulation_in_every_column(campus):
    table = campus.tables.learner_course
    expected = {
        f"{campus.learner_key(row['learner_id'])}:{row['course_id']}:{row['first_term_id']}": row
        for row in table.to_pylist()
    }
    found = {key: row for key, row in campus.learner_courses.items() if not row["is_graduated"]}
    assert expected.keys() == found.keys()
    apart = OF_OTHERS | OF_SESSIONS
    names = [name for name in shared(table, next(iter(found.values()))) if name not in apart]
    assert set(table.column_names) - set(names) == {"learner_id", "program_id", "course_id", "first_term_id"} | apart
    for key, row in expected.items():
        assert_same(row, found[key], names, key)
    for name in OF_SESSIONS:
        same = [abs((row[name] or 0) - (found[key][name] or 0)) <= TOLERANCE for key, row in expected.items()]
        print(f"{name}: {mean(same):.3f} of {len(same)} rows as planted")
        assert mean(same) > 0.8


def test_every_version_of_a_course_has_the_design_that_the_simulation_gave_it(campus):
    table = campus.tables.learner_course
    designs = {row["course_id"]: row for row in table.to_pylist()}
    names = shared(table, next(iter(campus.versions.values())))
    assert len(names) > 35
    compared = 0
    for key, row in campus.versions.items():
        course = key.split(":")[1]
        if course in designs:
            assert_same(designs[course], row, names, key)
            compared += 1
    assert compared > len(designs)


# Against plain Python on the landing files


def number(text: str | None) -> float | None:
    return float(text) if text not in (None, "") else None


def day_of(text: str) -> date:
    return date.fromisoformat(text[:10])


class Files:
    """The landing files as lists of dictionaries, without what the contract refuses or counts once."""

    def __init__(self, landing: Path):
        self.landing = landing
        self.items = defaultdict(list)
        for row in self.read("course_items.csv"):
            self.items[row["course_id"], row["version_id"]].append(row)
        terms = self.read("terms.csv")
        self.terms = {  # those of the whole institution are every program's that has no other of that id
            (program["program_id"], row["term_id"]): row
            for program in self.read("programs.csv")
            for row in sorted(terms, key=lambda row: row["program_id"])
            if row["program_id"] in ("", program["program_id"])
        }
        self.courses = {row["course_id"]: row for row in self.read("courses.csv")}
        self.offerings = {(row["course_id"], row["term_id"]): row for row in self.read("course_offerings.csv")}
        enrolled = sorted(self.read("program_enrollments.csv"), key=lambda row: row["admitted_on"], reverse=True)
        self.programs = {row["learner_id"]: row for row in enrolled}  # the first one, of some who began another
        self.enrollments = {}
        for row in sorted(self.read("course_enrollments.csv"), key=lambda row: row["enrolled_at"]):
            if not row["enrolled_at"].startswith("2023-99") and (row["course_id"], row["term_id"]) in self.offerings:
                self.enrollments[row["learner_id"], row["course_id"], row["term_id"]] = row
        self.hand_ins = {}
        for path in sorted((landing / "submissions").iterdir()):
            for row in self.read(path.relative_to(landing)):
                if row["attempt_number"] == "1":
                    key = row["learner_id"], row["course_id"], row["term_id"], row["item_id"]
                    self.hand_ins[key] = row
        self.events = defaultdict(list)
        seen = set()
        for path in sorted((landing / "events").iterdir()):
            for row in pq.read_table(path).to_pylist():
                if row["event_id"] in seen or row["learner_id"] is None or row["occurred_at"].year < 2000:
                    continue
                seen.add(row["event_id"])
                self.events[row["learner_id"], row["course_id"], row["term_id"]].append(row)
        self.seconds = {}
        of_learners = defaultdict(list)
        for place, events in self.events.items():
            of_learners[place[0]] += [(event["occurred_at"], place) for event in events]
        for moments in of_learners.values():
            self._count_seconds(moments)

    def _count_seconds(self, moments: list[tuple[datetime, tuple]]) -> None:
        """Learning time by course and day: gaps of at most half an hour in all that a learner does.

        A gap is the course's whose event opens it, and each of its seconds the day's on which it is spent.
        """
        for (begin, place), (end, _) in itertools.pairwise(sorted(moments)):
            if end - begin <= IDLE_CAP:
                days = self.seconds.setdefault(place, defaultdict(float))
                midnight = datetime.combine(end.date(), time.min)
                days[end.date()] += (end - max(begin, midnight)).total_seconds()
                if begin < midnight:
                    days[begin.date()] += (midnight - begin).total_seconds()

    def read(self, name: str | Path) -> list[dict]:
        with (self.landing / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def version(self, course: str, term: str) -> list[dict]:
        return self.items[course, self.offerings[course, term]["version_id"]]


@pytest.fixture(scope="module")
def files(campus) -> Files:
    return Files(campus.landing)


def centroid(values: list[float]) -> float | None:
    total = sum(values)
    return sum(x * (week + 1) for week, x in enumerate(values)) / total / len(values) if total else None


def variation(values: list[float]) -> float | None:
    average = mean(values)
    return math.sqrt(mean((x - average) ** 2 for x in values)) / average if average else None


def design(files: Files, course: str, version: str) -> dict:
    """Features of a version, one after the other as the report's appendix words them."""
    items = files.items[course, version]
    graded = [item for item in items if item["is_graded"] == "true"]
    lessons = [item for item in items if item["is_graded"] == "false"]
    videos = [item for item in lessons if item["kind"] == "video"]
    practice = [item for item in lessons if item["kind"] == "practice"]
    weeks = max(int(item["week"]) for item in items)

    def weekly(chosen: list[dict], value=lambda _: 1.0) -> list[float]:
        return [sum(value(item) for item in chosen if int(item["week"]) == week) for week in range(1, weeks + 1)]

    def weight(item: dict) -> float:
        return float(item["weight"])

    def minutes(item: dict) -> float:
        return float(item["minutes"])

    return {
        "week_count": weeks,
        "item_count": len(items),
        "assignment_count": len(graded),
        "has_team": any(item["kind"] == "team" for item in graded),
        "quiz_item_share": sum(item["kind"] == "quiz" for item in graded) / len(graded),
        "staff_graded_weight_share": sum(weight(item) for item in graded if item["kind"] == "staff_graded"),
        "late_penalty_share": sum(float(item["late_penalty"] or 0) > 0 for item in graded) / len(graded),
        "assignment_group_share": sum(item["assignment_group"] != "" for item in graded) / len(graded),
        "max_item_weight": max(weight(item) for item in graded),
        "medium_weight_share": sum(0.05 <= weight(item) < 0.15 for item in graded) / len(graded),
        "ungraded_practice_share": len(practice) / len(lessons),
        "ungraded_other_share": sum(item["kind"] == "other" for item in lessons) / len(lessons),
        "practice_per_week": len(practice) / weeks,
        "video_minutes_per_week": sum(map(minutes, videos)) / weeks,
        "video_minutes_weekly_variation": variation(weekly(videos, minutes)),
        "graded_weight_weekly_variation": variation(weekly(graded, weight)),
        "graded_weight_per_week": mean(weekly(graded, weight)),
        "practice_centroid": centroid(weekly(practice)),
        "graded_weight_centroid": centroid(weekly(graded, weight)),
        "first_week_video_minutes": weekly(videos, minutes)[0],
        "first_due_day": min((int(item["due_day"]) for item in graded if item["due_day"]), default=None),
    }


def test_designs_are_those_recomputed_from_the_items(campus, files):
    versions = sorted(
        (course, version) for course, version in files.items if files.courses[course]["course_type"] == "degree"
    )
    for course, version in random.Random(1).sample(versions, SAMPLE):  # noqa: S311
        expected = design(files, course, version)
        key = f"campus:{course}:{version}"
        assert_same(expected, campus.versions[key], list(expected), key)


def behaviour(files: Files, learner: str, course: str, term: str) -> dict:
    """What a learner did in a course, from events and hand-ins."""
    items = files.version(course, term)
    start = day_of(files.offerings[course, term]["starts_on"])
    weeks = max(int(item["week"]) for item in items)
    events = files.events[learner, course, term]

    def days(*types: str) -> set[int]:
        return {(event["occurred_at"].date() - start).days for event in events if event["event_type"] in types}

    tasks = days("item_completed")
    seconds = {(d - start).days: s for d, s in files.seconds.get((learner, course, term), {}).items()}
    graded = [item for item in items if item["is_graded"] == "true" and item["due_day"]]
    first = min(graded, key=lambda item: (int(item["due_day"]), int(item["position"])), default=None)

    def on_time(item: dict) -> bool:
        hand_in = files.hand_ins.get((learner, course, term, item["item_id"]))
        return hand_in is not None and day_of(hand_in["submitted_at"]) <= start + timedelta(days=int(item["due_day"]))

    def submitted(until: int) -> float | None:
        due = [item for item in graded if int(item["due_day"]) <= until]
        total = sum(float(item["weight"]) for item in due)
        return sum(float(item["weight"]) for item in due if on_time(item)) / total if due else None

    dropped = files.enrollments[learner, course, term]["dropped_on"] != ""
    grade = number(files.enrollments[learner, course, term]["final_grade"])
    until = int(first["due_day"]) if first else None
    half = 7 * weeks // 2
    hand_in = files.hand_ins.get((learner, course, term, first["item_id"])) if first else None
    passed = on_time(first) and float(hand_in["score"]) / 100 >= PASSING_SHARE if first else None
    return {
        "is_dropped": dropped,
        "days_active": len(tasks),
        "learning_hours": sum(seconds.values()) / 3600,
        "midpoint_days_active": sum(day < half for day in tasks),
        "midpoint_learning_hours": sum(s for day, s in seconds.items() if day < half) / 3600,
        "first_deadline_days_active": sum(day <= until for day in tasks) if first else None,
        "first_deadline_learning_hours": sum(s for d, s in seconds.items() if d <= until) / 3600 if first else None,
        "is_first_on_time": on_time(first) if first else None,
        "has_passed_first": passed,
        "first_deadline_submitted_share": submitted(until) if first else None,
        "midpoint_submitted_share": submitted(half - 1),
        "end_submitted_share": submitted(10_000),
        "forum_days": len(days("forum_view", "forum_thread", "forum_reply")),
        "forum_posting_days": len(days("forum_thread", "forum_reply")),
        "forum_thread_count": sum(event["event_type"] == "forum_thread" for event in events),
        "forum_reply_count": sum(event["event_type"] == "forum_reply" for event in events),
        "final_grade_percent": None if dropped else grade,
    }


def first_term_courses(files: Files, learner: str) -> list[tuple[str, str]]:
    enrolled = files.programs[learner]
    return [
        (course, term)
        for (who, course, term) in files.enrollments
        if who == learner
        and term == enrolled["first_term_id"]
        and files.courses[course]["program_id"] == enrolled["program_id"]
    ]


def test_behaviour_of_learners_is_that_recomputed_from_events_and_hand_ins(campus, files):
    matured = sorted(row["learner_id"] for row in campus.tables.learner_program.to_pylist())
    for learner in random.Random(2).sample(matured, SAMPLE):  # noqa: S311
        for course, term in first_term_courses(files, learner):
            expected = behaviour(files, learner, course, term)
            key = f"{campus.learner_key(learner)}:{course}:{term}"
            assert_same(expected, campus.learner_courses[key], list(expected), key)


def test_behaviour_of_courses_is_that_of_the_other_learners_of_the_term(campus, files):
    matured = sorted(row["learner_id"] for row in campus.tables.learner_program.to_pylist())
    takers = defaultdict(list)
    for who, course, term in files.enrollments:
        takers[course, term].append(who)
    rows = [(*place, who) for who in matured for place in first_term_courses(files, who)]
    large = [row for row in rows if len(takers[row[:2]]) > SMALLEST_GROUP]
    told = 0
    for course, term, learner in [*large, *random.Random(3).sample(rows, SAMPLE - len(large))]:  # noqa: S311
        others = {who: behaviour(files, who, course, term) for who in takers[course, term] if who != learner}
        stayed = [who for who, done in others.items() if not done["is_dropped"]]
        weeks = max(int(item["week"]) for item in files.version(course, term))
        start = day_of(files.offerings[course, term]["starts_on"])
        minutes = [0.0] * weeks
        for who in stayed:
            for day, seconds in files.seconds.get((who, course, term), {}).items():
                if 0 <= (day - start).days < 7 * weeks:
                    minutes[(day - start).days // 7] += seconds / 60 / len(stayed)
        days = [done["days_active"] for done in others.values()]
        hours = [others[who]["learning_hours"] for who in stayed]
        is_told = len(stayed) >= SMALLEST_GROUP
        expected = {
            "course_median_days_active": median(days) if len(others) >= SMALLEST_GROUP else None,
            "course_learning_minutes_per_week": mean(hours) * 60 / weeks if is_told else None,
            "learning_minutes_weekly_variation": variation(minutes) if is_told else None,
            "learning_minutes_centroid": centroid(minutes) if is_told else None,
        }
        key = f"{campus.learner_key(learner)}:{course}:{term}"
        assert_same(expected, campus.learner_courses[key], list(expected), key)
        told += is_told
    assert told > 10


def program_features(files: Files, learner: str, registered: dict[str, datetime]) -> dict:
    """The first term of a learner in a program, and what came before it."""
    enrolled = files.programs[learner]
    program = enrolled["program_id"]
    term = files.terms[program, enrolled["first_term_id"]]
    start = day_of(term["starts_on"])
    taken = [files.enrollments[learner, course, name] for course, name in first_term_courses(files, learner)]
    # No calendar has a term within 60 days of a year later that is not within its window.
    next_year = {
        row["term_id"]: row
        for (p, _), row in files.terms.items()
        if p == program and abs((day_of(row["starts_on"]) - start).days - 365) <= 60
    }
    kept = [
        row
        for (who, course, name), row in files.enrollments.items()
        if who == learner
        and files.courses[course]["program_id"] == program
        and name in next_year
        and (not row["dropped_on"] or row["dropped_on"] > next_year[name]["drop_deadline_on"])
    ]
    return {
        "is_retained": bool(kept),
        "courses_enrolled_count": len(taken),
        "courses_dropped_count": sum(row["dropped_on"] != "" for row in taken),
        "has_drop_after_deadline": any(row["dropped_on"] > term["drop_deadline_on"] for row in taken),
        "is_required_term": term["is_required"] == "true",
        "season": term["season"],
        "terms_since_admitted_count": sum(
            p == program and enrolled["admitted_on"] < row["starts_on"] < term["starts_on"]
            for (p, _), row in files.terms.items()
        ),
        "is_long_time_learner": (start - registered[learner].date()).days > 365,
    }


def test_first_terms_are_those_recomputed_from_the_enrollments(campus, files):
    registered = {
        row["learner_id"]: datetime.fromisoformat(row["registered_at"]).replace(tzinfo=UTC)
        for row in files.read("learners.csv")
        if row["learner_id"] in files.programs and row["registered_at"][:2] in ("19", "20")
    }
    matured = sorted(row["learner_id"] for row in campus.tables.learner_program.to_pylist())
    for learner in random.Random(4).sample(matured, SAMPLE):  # noqa: S311
        expected = program_features(files, learner, registered)
        key = f"{campus.learner_key(learner)}:{files.programs[learner]['program_id']}"
        assert_same(expected, campus.learner_programs[key], list(expected), key)


# Catalogue and coverage


def test_the_coverage_tells_of_every_column_of_the_catalogue_and_the_university_fills_them_all(campus):
    seeds = campus.warehouse.query(
        "select mart_column from marts.driver_catalogue union select mart_column from marts.driver_control_groups"
    )
    covered = dict(campus.warehouse.query("select mart_column, is_filled from reporting.feature_coverage"))
    assert {column for (column,) in seeds} <= covered.keys()
    assert [column for column, is_filled in covered.items() if not is_filled] == []


# The weekly marts, which the scores of risk read

CLICKS_OF_ALL_TIME = """
    select week.* replace (cast(coalesce(every.click_count, 0) as integer) as click_count)
    from ({mart}) as week
    left join (
        select {key}, sum(click_count) as click_count
        from "build"."core"."fct_daily_activity"
        group by {key}
    ) as every
        on week.{key} = every.{key}
"""
KEYS = {COURSES: "course_enrollment_key", PROGRAMS: "learner_key"}


@pytest.fixture(scope="module")
def compiled(campus) -> dict[str, str]:
    folder = campus.warehouse.home / "target/compiled/learning_warehouse/models/marts"
    return {mart: (folder / place / f"{mart}.sql").read_text() for mart, place in RECOUNTED.items()}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_no_feature_of_a_week_changes_when_the_data_end_there(campus, compiled, subject):
    found = recounted_leaks(campus.settings, subject, "campus", compiled)
    assert found == {week: [] for week in CHECKED_WEEKS[subject.name]}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_a_planted_feature_that_knows_the_future_is_found_in_every_week(campus, compiled, subject, tmp_path):
    shutil.copy(campus.settings.build_database, tmp_path / "build.duckdb")
    mart = subject.mart.partition(".")[2]
    with duckdb.connect(str(tmp_path / "build.duckdb")) as connection:
        leaky = CLICKS_OF_ALL_TIME.format(mart=f"from marts.{mart}", key=KEYS[subject])
        connection.execute(f"create or replace table marts.{mart} as {leaky}")
    sql = compiled | {mart: CLICKS_OF_ALL_TIME.format(mart=compiled[mart], key=KEYS[subject])}
    found = recounted_leaks(Settings(home=tmp_path), subject, "campus", sql)
    assert found == {week: ["click_count"] for week in CHECKED_WEEKS[subject.name]}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_whom_the_marts_count_as_active_is_whom_the_scorer_reads(campus, subject):
    store = Store(campus.settings)
    active = read_active(subject, store, "campus")
    assert subject.count_active(store, "campus") == active.loc[active["is_latest"], "enrollment_key"].nunique() > 0


def test_a_contact_counts_for_two_weeks_from_when_the_log_knew_it(campus, files):
    """Of the course offering that the contact was about, or of all when about none; the newest one counts."""
    contacts = defaultdict(list)
    for row in files.read("interventions.csv"):
        contacts[campus.learner_key(row["learner_id"])].append(row)
    weeks = campus.warehouse.query(
        "select learner_key, course_key, program_key, as_of_on, contact_channel from marts.mart_learner_course_week"
    )
    compared = 0
    for learner, course, program, as_of, channel in weeks:
        known = [
            (row["contacted_at"], row["intervention_id"], row["channel"])
            for row in contacts.get(learner, [])
            if row["course_id"] in ("", course.partition(":")[2])
            and row["program_id"] == program.partition(":")[2]
            and day_of(row["recorded_at"]) < as_of
            and (as_of - day_of(row["contacted_at"])).days <= 14
        ]
        assert channel == (max(known)[2] if known else "none")
        compared += len(known)
    assert compared > 20
