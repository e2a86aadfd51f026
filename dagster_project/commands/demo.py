"""`make demo`: a university made up at the size of the report, and what the warehouse found out about it.

The planted truth lies in `<warehouse>/truth/`, beside all that assets and models read; only this module compares.
"""

import argparse
import importlib
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from dagster_project import simulate
from dagster_project.base.engine import one_row, open_database
from dagster_project.commands.environment import say
from dagster_project.commands.interruption import keep_signals
from dagster_project.commands.run import run_source
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest.source_state import source_states
from dagster_project.settings import PREFIX, Settings
from dagster_project.store.publish import DATABASE

SOURCE = "campus"
SHOWN = 5
# What an event's row looks like that a device with a reset clock sent: everything else refused is malformed.
OUT_OF_RANGE = "%outside of the permitted range%"


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """Simulate a university and run it; status as `run`. Another source of that name is left alone."""
    from dagster_project.ingest.sources import Source, registered_sources

    landing = landing_place(settings)
    taken = [x.landing for x in registered_sources(settings) if x.name == SOURCE and x.landing != landing.resolve()]
    if taken:
        say(
            f"The warehouse {settings.home} holds a source {SOURCE} of your own, from {taken[0]}: the demo would "
            f"replace it. Give it another warehouse: {PREFIX}HOME=warehouse-demo make demo"
        )
        return 2
    # The definitions take ten seconds to import: meanwhile the university is made.
    keep_signals()
    threading.Thread(target=importlib.import_module, args=["dagster_project.definitions"], daemon=True).start()
    truth = make_university(settings, arguments.students or simulate.STUDENTS, arguments.seed, say)
    status = run_source(settings, Source(SOURCE, SOURCE, landing))
    if status == 0:
        print("\n" + demo_summary(settings, truth))
    return status


def landing_place(settings: Settings) -> Path:
    """Landing folder of the made-up university."""
    return settings.home / "landing" / SOURCE


def make_university(settings: Settings, students: int, seed: int, say: Callable[[str], None]) -> dict:
    """Write the landing files of a university and its truth; returns the truth.

    One seed and size give the same bytes, so that a second demo loads nothing. Of another size, every file of the
    earlier university is replaced: by one without rows where the new one has none of that name.
    """
    landing, truth = landing_place(settings), settings.home / "truth" / f"{SOURCE}.json"
    say(f"Simulating a university: {students:,} degree learners with a known first year, and all around them …")
    began, started = time.time(), time.monotonic()
    report = simulate.write(landing, truth, seed, students)
    for leftover in landing.rglob("*.*"):
        if leftover.stat().st_mtime < began:
            _empty(leftover)
    seconds = time.monotonic() - started
    rows, dirt = sum(report.rows.values()), sum(report.dirt.counts.values())
    say(f"{rows:,} rows in {landing}, {dirt:,} of them spoilt on purpose, in {seconds:.0f} s; the truth: {truth}")
    return json.loads(truth.read_text())


def _empty(file: Path) -> None:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(pq.read_schema(file).empty_table(), file)
    else:
        with file.open() as lines:
            header = lines.readline()
        file.write_text(header)


def demo_summary(settings: Settings, truth: dict) -> str:
    """What a reader would look for in the published snapshot, beside what was planted.

    Args:
        truth: from `make_university`.
    """
    with open_database(settings, (settings.published_dir / DATABASE).resolve()) as connection:
        lines = [*_university(connection), "", *_dirt(connection, settings, truth["dirt"])]
        published = {
            f"{schema}.{table}"
            for schema, table in connection.execute("select schema_name, table_name from _meta.tables").fetchall()
        }
        if "reporting.driver_effects" in published:
            lines += ["", *_drivers(connection, truth["drivers"])]
        if "analytics.at_risk_scores" in published:
            lines += ["", *_at_risk(connection), *_stale(settings)]
        if "learners.learner_skills" in published:
            lines += ["", *_skills(connection, truth)]
    pages = sorted(settings.published_dir.glob("reports/*.html"))
    lines += ["", "Where to look next:"]
    lines += [f"  {page}" for page in pages]
    if (lists := settings.published_dir / "call_lists" / "index.html").exists():
        lines.append(f"  {lists}  (whom to call; make call-list: with names)")
    lines += [
        f"  {settings.home / 'truth' / SOURCE}.json  (what was planted: effects, employers, gains, answers, dirt)",
        "  marts.mart_learner_program, mart_learner_course, mart_course_version  (the report's drivers as columns)",
        "  docs/questions.md  (ten questions in SQL)",
        "  warehouse/README.md  (the schemas, and how a BI tool connects)",
    ]
    return "\n".join(lines)


def _university(connection: duckdb.DuckDBPyConnection) -> list[str]:
    learners, graduates, programs, stayed = one_row(
        connection,
        "select count(is_retained_without_graduates), count(*) filter (is_graduated), "
        "count(distinct program_key) filter (is_retained is not null), avg(is_retained::integer) "
        "from marts.mart_learner_program where source = ?",
        [SOURCE],
    )
    everyone, countries = one_row(
        connection, "select count(*), count(distinct country) from core.dim_learner where source = ?", [SOURCE]
    )
    # Programs too small to be shown have no share.
    shares = connection.execute(
        "select sum(retained_share * followed_count) / sum(followed_count) as share, any_value(program_name) "
        "from reporting.program_retention where source = ? and level = 'program_year' and retained_share is not null "
        "group by program_key order by share desc, program_key",
        [SOURCE],
    ).fetchall()
    by_program = (
        f": from {shares[-1][0]:.0%} in {shares[-1][1]} to {shares[0][0]:.0%} in {shares[0][1]}" if shares else ""
    )
    return [
        f"The university: {learners:,} learners with a known first year in {programs} programs "
        f"({everyone:,} learners of all kinds, from {countries} countries).",
        f"A year on, {stayed:.1%} were still there, {graduates:,} graduates included{by_program}.",
    ]


def _dirt(connection: duckdb.DuckDBPyConnection, settings: Settings, planted: dict[str, dict[str, int]]) -> list[str]:
    lines = [f"{'What was wrong with the files':<44}{'planted':>10}{'found':>10}"]
    found = found_dirt(connection, settings)
    for table, kinds in planted.items():
        for kind, count in kinds.items():
            there = found.get((table, kind))
            shown = f"{there:>10,}" if there is not None else f"{'—':>10}  order plays no part"
            lines.append(f"  {table:<20}{kind.replace('_', ' '):<22}{count:>10,}{shown}")
    return lines


def found_dirt(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[tuple[str, str], int]:
    """Rows of each kind of dirt that the warehouse set right, set aside or refused, by (table, kind).

    Args:
        connection: to the published database.
        settings: where quarantine and raw lie.
    """
    counts: dict[tuple[str, str], int] = {}

    def count(table: str, kind: str, query: str, *values: str) -> None:
        counts[table, kind] = int(one_row(connection, query, values)[0] or 0)

    for table in ("events", "submissions"):
        count(
            table,
            "duplicate",
            "select sum(duplicate_row_count) from core.fct_duplicate_rows where source = ? and table_name = ?",
            SOURCE,
            table,
        )
    for table in ("events", "submissions", "course_enrollments", "support_tickets"):
        count(
            table,
            "unknown_reference",
            "select sum(row_count) from core.fct_held_rows where source = ? and entity = ?",
            SOURCE,
            table,
        )
    for table in ("events", "submissions", "course_enrollments", "learners"):
        kept = [
            folder / SOURCE / table / f"source={SOURCE}" / "*.parquet"
            for folder in (settings.quarantine_dir, settings.identity_dir / "quarantine")
        ]
        files = [str(pattern) for pattern in kept if any(pattern.parent.glob(pattern.name))]
        for kind, sign in (("malformed", "not"), ("clock_reset", "")):
            if kind == "malformed" or table == "events":
                query = f"select count(*) from read_parquet(?) where reason {sign} like '{OUT_OF_RANGE}'"
                counts[table, kind] = one_row(connection, query, [files])[0] if files else 0
    count(
        "events",
        "late",
        "select sum(event_count) from core.fct_daily_activity where source = ? and known_on > activity_on",
        SOURCE,
    )
    count(
        "events",
        "clock_ahead",
        "select count(distinct event_id) from read_parquet(?) where occurred_at > received_at",
        str(settings.raw_dir / SOURCE / "events" / f"source={SOURCE}" / "*" / "*.parquet"),
    )
    count(
        "submissions",
        "resubmission",
        "select count(*) from core.fct_submission where source = ? and attempt_number = 2",
        SOURCE,
    )
    count(
        "course_enrollments",
        "reenrollment",
        "select count(*) from core.fct_course_registration where source = ? and registration_number > 1",
        SOURCE,
    )
    return counts


def _drivers(connection: duckdb.DuckDBPyConnection, planted: dict[str, dict]) -> list[str]:
    rows = connection.execute(
        "select driver_id, title, percent, percent_low, percent_high from reporting.driver_effects "
        "where source = ? and program_name is null and status = 'estimated' order by abs(percent) desc limit ?",
        [SOURCE, SHOWN],
    ).fetchall()
    lines = [f"{'What moves retention, in percent':<64}{'planted':>9}{'found':>8}   95 % interval"]
    for driver, title, percent, low, high in rows:
        truth = planted.get(driver, {}).get("planted_percent")
        there = f"{truth:>9.1f}" if truth is not None else f"{'—':>9}"
        lines.append(f"  {title[:62]:<62}{there}{percent:>8.1f}   {low:.1f} to {high:.1f}")
    return [*lines, "  …  (every driver: make planted)"]


def _at_risk(connection: duckdb.DuckDBPyConnection) -> list[str]:
    # What became known on the day as_of_on or later is in no score.
    rows = connection.execute(
        "select outcome, max(as_of_on) - 1, count(*), count(*) filter (where band = 'high'), "
        "count(*) filter (where band = 'medium') from analytics.at_risk_scores as scores where source = ? and "
        "scored_on = (select max(scored_on) from analytics.at_risk_scores as last where last.outcome = scores.outcome) "
        "group by outcome order by outcome",
        [SOURCE],
    ).fetchall()
    return [
        "Who may leave:",
        *(
            f"  {outcome.replace('_', ' ')}, as of {day}: {learners:,} learners, "
            f"{high:,} at high and {medium:,} at medium risk"
            for outcome, day, learners, high, medium in rows
        ),
    ]


def _stale(settings: Settings) -> list[str]:
    """Why nobody is to be called by a list that is made from data like these."""
    return [
        f"  Call nobody by this list: its data are older than permitted ({source.why_stale})."
        for source in source_states(CONTRACTS, settings)
        if source.name == SOURCE and source.why_stale
    ]


def _skills(connection: duckdb.DuckDBPyConnection, truth: dict) -> list[str]:
    learners, skills, shown = one_row(
        connection,
        "select count(distinct learner_key), count(distinct skill_key), count(*) filter (where has_ability) "
        "from learners.learner_skills where source = ?",
        [SOURCE],
    )
    lines = [
        f"What they can do: {learners:,} learners in {skills} skills; "
        f"{shown:,} of their abilities are certain enough to be shown."
    ]
    means = connection.execute(
        "select organization_key, skill_key, mean_ability - avg(mean_ability) over (partition by skill_key) "
        "from reporting.organization_skills where source = ? and comparison = 'all' and is_shown",
        [SOURCE],
    ).fetchall()
    if len(means) > 2:
        planted = [truth["organizations"][_id(organization)][_id(skill)] for organization, skill, _ in means]
        found = statistics.correlation(planted, [mean for *_, mean in means])
        lines.append(
            f"Employers' people differ as planted: correlation {found:.2f} over {len(means)} employers × skills."
        )
    gains = connection.execute(
        "select course_key, skill_key, gain_low <= 0 and gain_high >= 0 from analytics.skill_course_gains "
        "where source = ? and gain is not null",
        [SOURCE],
    ).fetchall()
    nothing = [row[2] for row in gains if truth["course_gains"][_id(row[0])][_id(row[1])] == 0]
    if nothing:
        lines.append(
            f"Courses planted to add nothing to a skill: {len(nothing)}; the 95 % interval of the gain holds zero for "
            f"{sum(nothing) / len(nothing):.1%} of them."
        )
    return lines


def _id(key: str) -> str:
    """The source's own id in a key."""
    return key.partition(":")[2]
