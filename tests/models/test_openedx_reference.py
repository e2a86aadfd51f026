"""Open edX's own pairs of events and statements, and Aspects' expected tables, out of the staging models."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.settings import REPOSITORY
from tests.models.compiled_models import CompiledModels
from tests.models.made_openedx import ADL, TINCAN, W3, columns_of, raw_row, records, statement, value_at

DATA = Path(os.environ.get("OPENEDX_DATA") or REPOSITORY.parent / "shared/data/openedx")
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no Open edX reference data in {DATA}")

LEARNER = "32e08e30-f8ae-4ce2-94a8-c2bfe38a70cb"
WITHOUT_A_STATEMENT = {
    "edx.grades.problem.submitted.weighted_possible_null",
    "edx.video.closed_captions.hidden.null.duration",
    "play_video.required.only.data",
    "postion_changed_video",
}
OF_PAIRS = (
    "learner_id, course_key, kind, object_id, block_id, occurred_at, enrollment_mode, attempt_number, score, "
    "maximum_score, is_correct, is_passing, round(completion_share, 6) as completion_share, "
    "round(position_seconds, 3) as position_seconds, round(from_seconds, 3) as from_seconds, "
    "round(to_seconds, 3) as to_seconds, duration_seconds, playback_rate"
)
# What differs within a pair, and why.
BROWSER_CHECK = {"object_id", "block_id"}
"""The problem stands only in the form with the answers, which is not kept; the server's line of it has both."""
ATTEMPT = {"attempt_number"}
"""The statement of a problem of several questions does not tell the attempt."""
EXCEPTIONS = {
    "problem_check(browser)": BROWSER_CHECK,
    "problem_check(browser).ccx": BROWSER_CHECK,
    "problem_check(browser)legacy": BROWSER_CHECK,
    # No source of the event, no course, no problem: it is not told whose line it is, and no statement either has them.
    "problem_check(browser).required.only.data": {"kind", "is_correct"},
    "problem_check(server).list_answers": ATTEMPT,
    "problem_check(server,multiple_questions,correct)": ATTEMPT,
    "problem_check(server,multiple_questions,incorrect)": ATTEMPT,
    "problem_check(server,multiple_questions,partial_correct)": ATTEMPT,
    # Nobody is signed in: the log names no learner, the statement has an id for nobody.
    "edx.ui.lms.link_clicked(anonymous_user)": {"learner_id"},
}


def table(name: str) -> list[dict[str, str]]:
    """Rows of an expected table of Aspects."""
    with (DATA / "aspects" / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def rebuilt_statements() -> Iterator[dict]:
    """Statements as they must have been, out of Aspects' tables of events."""
    for row in table("enrollment/enrollment_events_expected"):
        mode = {W3 + "acrossx/extensions/type": row["enrollment_mode"]}
        yield _rebuilt(row, kind=ADL + "activities/course", of_object=mode)
    for row in table("video/video_playback_events_expected"):
        place = "time-from" if row["verb_id"].endswith("seeked") else "time"
        result = {"extensions": {f"{W3}video/extensions/{place}": float(row["video_position"])}}
        yield _rebuilt(row, result=result, extensions={W3 + "video/extensions/length": float(row["video_duration"])})
    for row in table("grading/grading_events_expected"):
        if "/course/" not in row["object_id"]:  # an evaluated problem, which the events of problems have as well
            continue
        result: dict[str, Any] = {"score": {"scaled": float(row["scaled_score"])}}
        if row["verb_id"].endswith("earned"):
            letter = {"passed": "Pass", "failed": "Fail"}[row["approving_state"]]
            result["extensions"] = {"http://www.tincanapi.co.uk/activitytypes/grade_classification": letter}
        yield _rebuilt(row, kind=ADL + "activities/course", result=result)
    for row in table("problems/problem_events_expected"):
        kind, result = ADL + "activities/cmi.interaction", None
        if row["verb_id"].endswith("asked"):
            solution = row["object_id"].endswith("/answer")
            kind = TINCAN + "activitytype/solution" if solution else W3 + "acrossx/extensions/supplemental-info"
        elif row["verb_id"].endswith("evaluated"):
            result = {"score": {"scaled": float(row["scaled_score"])}, "success": row["success"] == "true"}
        else:  # passed, which the grades have as well
            continue
        attempt = {TINCAN + "extension/attempt-id": int(row["attempts"])}
        yield _rebuilt(row, kind=kind, result=result, of_object=attempt)


def _rebuilt(row: dict[str, str], **parts: Any) -> dict:
    at = row.get("emission_time_long") or row["emission_time"]
    parts = {name: value for name, value in parts.items() if value is not None}
    return statement(row["event_id"], row["actor_id"], row["verb_id"], row["object_id"], at, row["course_key"], **parts)


def rows_of_pairs() -> Iterator[tuple[str, dict]]:
    """Rows of both shapes of every event, each event a source of its own, and of whom its names mean."""
    for path in sorted((DATA / "raw").glob("*.json")):
        for record in records(path):
            row = raw_row("tracking_log", record, path.stem)
            assert row is not None, path
            yield "tracking_log", row
            for name, user_id in _identities(record):
                mapped = {"external_user_id": LEARNER, "external_id_type": "xapi", "source": path.stem}
                yield "external_id", mapped | {"username": name, "user_id": user_id}
    for path in sorted((DATA / "xapi").glob("*.json")):
        for record in records(path):
            row = raw_row("statements", record, path.stem)
            if row is not None:
                yield "statements", row


def _identities(record: dict) -> Iterator[tuple[str | None, str | None]]:
    for path in ("username", "context.username", "event.username", "data.username"):
        if name := value_at(record, path):
            yield name, None
    for path in ("context.user_id", "event.user_id", "data.user_id", "event.attempt_user_id", "data.attempt_user_id"):
        if number := value_at(record, path):
            yield None, str(number)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[duckdb.DuckDBPyConnection]:
    rows: dict[str, list[dict]] = {"tracking_log": [], "statements": [], "external_id": []}
    for name, row in rows_of_pairs():
        rows[name].append(row)
    for record in records(DATA / "tracking.log"):
        rows["tracking_log"].append(raw_row("tracking_log", record, "log"))
    rows["statements"] += [raw_row("statements", record, "aspects") for record in rebuilt_statements()]
    for name in ("course_overviews", "course_blocks", "user_profile", "external_id"):
        rows.setdefault(name, []).extend(_of_contract(name, row) for row in table(f"event_sink/{name}"))
    models = CompiledModels(
        tmp_path_factory.mktemp("openedx"),
        {"openedx": rows},
        only="path:models/staging/openedx fct_video_watch dim_learner",
    )
    with models.built() as connection:
        yield connection


def _of_contract(name: str, row: dict[str, str]) -> dict:
    wanted = {column["name"] for column in columns_of(name)}
    return {"source": "aspects"} | {key: value or None for key, value in row.items() if key in wanted}


def test_every_pair_becomes_the_same_row(built):
    """The children of a problem of several questions are compared as answers, below."""
    found = built.execute(
        f"select source, origin, {OF_PAIRS} from staging.int_openedx__learning_events "
        "where source not in ('aspects', 'log') and kind <> 'question_answered' order by all"
    )
    names = [x[0] for x in found.description][2:]
    pairs: dict[str, dict[str, list[tuple]]] = {}
    for source, origin, *values in found.fetchall():
        pairs.setdefault(source, {}).setdefault(origin, []).append(tuple(values))
    assert len(pairs) == 81
    assert {name for name, pair in pairs.items() if "statement" not in pair} - EXCEPTIONS.keys() == WITHOUT_A_STATEMENT
    differences = {}
    for name, pair in pairs.items():
        if "statement" in pair:
            ((logged,), (stated,)) = pair["log"], pair["statement"]
            if differing := {n for n, a, b in zip(names, logged, stated, strict=True) if a != b}:
                differences[name] = differing
    assert differences == {name: columns for name, columns in EXCEPTIONS.items() if name in pairs}


def test_answers_to_several_questions_are_the_same_from_both_shapes(built):
    """The log has them in one line, statements have one each: learner, question, time, score."""
    found = built.execute(
        """
        with answers as (
            select source, learner_id, question_id, occurred_at, score, maximum_score
            from staging.int_openedx__questions_answered
            where source like 'problem_check(server%'
        ), stated as (
            select source, learner_id, object_id as question_id, occurred_at, is_correct
            from staging.int_openedx__learning_events
            where kind = 'question_answered'
        )
        select
            count(*), count(distinct answers.source), count(stated.source),
            count(*) filter (where (answers.score = 1) = stated.is_correct),
            (select count(*) from stated)
        from answers left join stated using (source, learner_id, question_id, occurred_at)
        """
    ).fetchone()
    # 5 events of one question; of 3, 3, 3 and 4 questions one each. Every statement of a question meets its answer.
    assert found == (18, 9, 13, 13, 13)


def found(built: duckdb.DuckDBPyConnection, sql: str) -> Counter[tuple]:
    return Counter(built.execute(sql).fetchall())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_most_recent_enrollments_are_those_of_aspects(built):
    expected = Counter(
        (x["actor_id"], x["course_key"], x["enrollment_status"], x["enrollment_mode"], at(x["emission_time"]))
        for x in table("enrollment/dim_most_recent_enrollment_expected")
    )
    assert expected.total() == 423
    assert expected == found(
        built,
        "select learner_id, course_key, kind, enrollment_mode, occurred_at "
        "from staging.int_openedx__enrollment_changes where source = 'aspects' and is_last",
    )


def test_grades_and_states_are_those_of_aspects(built):
    """A course that was passed without a grade has none, here and there."""
    grades = Counter(
        (x["actor_id"], x["course_key"], round(float(x["course_grade"]), 9), at(x["emission_time"]))
        for x in table("grading/dim_learner_most_recent_course_grade_expected")
    )
    states = Counter(
        (x["actor_id"], x["course_key"], x["approving_state"], at(x["emission_time"]))
        for x in table("grading/dim_learner_most_recent_course_state_expected")
    )
    assert (grades.total(), states.total()) == (127, 129)
    results = "from staging.int_openedx__course_results where source = 'aspects' and"
    assert grades == found(
        built, f"select learner_id, course_key, round(grade_share, 9), graded_at {results} grade_share is not null"
    )
    assert states == found(
        built,
        "select learner_id, course_key, if(is_passing, 'passed', 'failed'), decided_at "
        f"{results} is_passing is not null",
    )


def test_statuses_of_learners_are_those_of_aspects(built):
    """Enrollment, mode, state (failed while there is none) and grade, which they keep as a number of 32 bits."""
    expected = Counter(
        (
            *(
                x[name]
                for name in ("actor_id", "course_key", "enrollment_status", "enrollment_mode", "approving_state")
            ),
            round(float(x["course_grade"]), 6),
            at(x["enrolled_at"]),
        )
        for x in table("grading/dim_student_status_expected")
    )
    assert expected.total() == 423
    assert expected == found(
        built,
        """
        select
            changes.learner_id, course_key, changes.kind, changes.enrollment_mode,
            if(coalesce(results.is_passing, false), 'passed', 'failed'), round(coalesce(results.grade_share, 0), 6),
            changes.occurred_at
        from staging.int_openedx__enrollment_changes as changes
        left join staging.int_openedx__course_results as results using (source, learner_id, course_key)
        where source = 'aspects' and is_last
        """,
    )


def test_last_responses_are_those_of_aspects(built):
    """The last is that of the highest attempt, of two of the same number any. The text of answers is not kept."""
    expected = Counter(
        (x["actor_id"], x["problem_id"], int(x["attempts"]), at(x["emission_time"]), round(float(x["scaled_score"]), 9))
        for x in table("problems/dim_learner_last_response_expected")
    )
    assert expected.total() == 873
    assert expected == found(
        built,
        """
        select learner_id, item_id, attempt_number, answered_at, round(score / maximum_score, 9)
        from staging.stg_openedx__responses
        where source = 'aspects'
        qualify row_number() over (partition by learner_id, item_id order by attempt_number desc, answered_at) = 1
        """,
    )


def test_watched_seconds_are_those_of_aspects(built):
    expected = Counter(
        {
            (x["actor_id"], x["object_id"].rpartition("/xblock/")[2], int(x["watched_segment"])): int(x["watch_count"])
            for x in table("video/fact_video_segments_expected")
        }
    )
    assert (len(expected), expected.total()) == (14_628, 14_900)
    watched = built.execute(
        """
        select learners.learner_id, item_id, seconds.second, watch_count
        from core.fct_video_watch
        inner join core.dim_learner as learners using (learner_key)
        cross join unnest(range(first_second, last_second + 1)) as seconds (second)
        where fct_video_watch.source = 'aspects'
        """
    ).fetchall()
    assert Counter({tuple(row[:3]): row[3] for row in watched}) == expected
    ((seconds, times),) = built.execute(
        "select sum(watched_seconds), sum(watched_seconds * watch_count) from core.fct_video_watch "
        "where source = 'aspects'"
    ).fetchall()
    assert (seconds, times) == (14_628, 14_900)


def test_blocks_and_courses_are_those_of_aspects(built):
    """They call chapters sections, sequentials subsections and verticals units."""
    own = {"section": "chapter", "subsection": "sequential", "unit": "vertical"}
    blocks = Counter(
        (x["block_id"], x["block_name"], own.get(x["block_type"], x["block_type"]))
        for x in table("courses/dim_course_blocks_expected")
    )
    assert blocks.total() == 1_731
    told = found(
        built,
        "select item_id, item_name, source_kind from staging.stg_openedx__course_items "
        "where source = 'aspects' and item_name is not null",
    )
    assert told == blocks
    names = Counter((x["course_key"], x["course_name"]) for x in table("courses/dim_course_names_expected"))
    assert names == found(
        built, "select course_key, course_name from staging.int_openedx__course_runs where source = 'aspects'"
    )


def test_lines_of_a_log_with_prefixes_and_broken_ones(built):
    """12 lines, 2 of them broken. Grades name their learner by number only: it is the one whom another line names."""
    kinds = found(
        built,
        "select kind, drop_reason, coalesce(learner_id, '-') from staging.int_openedx__learning_events "
        "where source = 'log'",
    )
    assert kinds == Counter(
        {
            ("subsection_graded", None, "bmtcril"): 2,
            ("course_graded", None, "bmtcril"): 1,
            ("course_failed", None, "bmtcril"): 1,
            ("problem_attempted", None, "bmtcril"): 1,
            ("problem_scored", None, "bmtcril"): 1,
            ("problem_checked", None, "bmtcril"): 1,
            ("unnamed", None, "bmtcril"): 3,
        }
    )
    submissions = built.execute(
        "select course_id, term_id, attempt_number, score, maximum_score, graded_by "
        "from staging.stg_openedx__submissions where source = 'log'"
    ).fetchall()
    assert submissions == [("edX+DemoX", "Demo_Course", 1, 1.0, 1.0, "automatic")]
