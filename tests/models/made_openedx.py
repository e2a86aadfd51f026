"""Rows of the contract openedx out of records as Open edX writes them, read here without the loader."""

import contextlib
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dagster_project.settings import REPOSITORY

CONTRACT = REPOSITORY / "dbt/models/staging/openedx/_openedx__sources.yml"
STEP = re.compile(r"\['([^']+)'\]|\[(\d+)\]|([^.\[\]]+)")


@cache
def columns_of(table: str) -> tuple[dict, ...]:
    """The columns of a table as the contract has them, without direct identifiers."""
    (source,) = yaml.safe_load(CONTRACT.read_text())["sources"]
    ((columns),) = [x["columns"] for x in source["tables"] if x["name"] == table]
    return tuple(x for x in columns if x.get("config", {}).get("meta", {}).get("pii") != "direct")


def records(path: Path) -> Iterator[dict]:
    """The JSON objects of a file: a document, a list of them, or one a line behind anything; without broken ones."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        whole = json.loads(data)
        yield from whole if isinstance(whole, list) else [whole]
    except ValueError:
        for line in data.decode().splitlines():
            try:
                yield json.loads(line[line.index("{") :])
            except ValueError:
                continue


def raw_row(table: str, record: dict, source: str) -> dict | None:
    """The row of a record; None: it lacks what the contract requires, and the loader would refuse it."""
    if table == "tracking_log" and isinstance(record.get("event"), str):
        with contextlib.suppress(ValueError):
            record = {**record, "event": json.loads(record["event"])}
    row: dict[str, Any] = {"source": source}
    for column in columns_of(table):
        meta = column["config"]["meta"]
        if meta["path"] == "#hash":
            row[column["name"]] = hashlib.md5(json.dumps(record).encode(), usedforsecurity=False).hexdigest()
            continue
        found = (value_at(record, path) for path in meta["path"])
        row[column["name"]] = _typed(next((value for value in found if value is not None), None), column["data_type"])
        if meta.get("required") and row[column["name"]] is None:
            return None
    return {**row, "event_date": row["occurred_at"].date()}


def value_at(record: Any, path: str) -> Any:
    """What lies at a path such as `context.parent[0].name['en-US']`; None: nothing."""
    for quoted, number, key in STEP.findall(path):
        if number:
            record = record[int(number)] if isinstance(record, list) and len(record) > int(number) else None
        else:
            record = record.get(quoted or key) if isinstance(record, dict) else None
    return record


def _typed(value: Any, data_type: str) -> Any:
    if value is None or value == "":
        return None
    if data_type == "timestamp":
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    if data_type in ("integer", "double"):
        return float(value)
    if data_type == "boolean":
        return value
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


# Statements and lines by their parts

LMS = "http://lms.example"
ADL, W3, TINCAN = "http://adlnet.gov/expapi/", "https://w3id.org/xapi/", "http://id.tincanapi.com/"


def statement(identity: str, actor: str, verb: str, object_id: str, at: str, course: str, **parts: Any) -> dict:
    """A statement on something in a course; `kind` is its type, `result` and `extensions` are the statement's."""
    definition: dict[str, Any] = {"type": parts.get("kind", W3 + "video/activity-type/video")}
    if "of_object" in parts:
        definition["extensions"] = parts["of_object"]
    parent = {"id": f"{LMS}/course/{course}", "definition": {"type": ADL + "activities/course"}}
    made: dict[str, Any] = {
        "id": identity,
        "actor": {"account": {"name": actor, "homePage": LMS}},
        "verb": {"id": verb},
        "object": {"id": object_id, "definition": definition, "objectType": parts.get("object_kind", "Activity")},
        "timestamp": at,
        "context": {"contextActivities": {"parent": [parent]}, "extensions": parts.get("extensions", {})},
    }
    return made | ({"result": parts["result"]} if "result" in parts else {})


def line(name: str, username: str, user_id: int, at: str, course: str, event: Any, source: str = "server") -> dict:
    """A line of a tracking log, of the server's shape."""
    return {
        "name": name,
        "event_type": name,
        "event_source": source,
        "username": username,
        "context": {"course_id": course, "user_id": user_id},
        "event": event,
        "time": at,
    }


# A week of one learner

COURSE = "course-v1:Uni+Math1+2024"
VIDEO = "block-v1:Uni+Math1+2024+type@video+block@lecture1"
PROBLEM = "block-v1:Uni+Math1+2024+type@problem+block@quiz1"
INTERACTION = ADL + "activities/cmi.interaction"


def moment(minute: int) -> str:
    return f"2024-03-04T10:{minute:02d}:00.123456+00:00"


def position(seconds: float) -> dict:
    return {"extensions": {W3 + "video/extensions/time": seconds}}


def xblock(block: str) -> str:
    return f"{LMS}/xblock/{block}"


def lines_of_a_week() -> list[dict]:
    """Anna (number 7) enrolls, watches seconds 1 to 31, and answers two questions, one of them right."""
    answers = {"quiz1_2_1": {"correctness": "correct"}, "quiz1_3_1": {"correctness": "incorrect"}}
    checked = {"problem_id": PROBLEM, "grade": 1, "max_grade": 2, "attempts": 1, "success": "incorrect"}
    enrolled = {"course_id": COURSE, "user_id": 7, "mode": "audit"}
    return [
        line("edx.course.enrollment.activated", "anna", 7, moment(0), COURSE, enrolled),
        line("play_video", "anna", 7, moment(1), COURSE, '{"id": "lecture1", "currentTime": 0.5}', "browser"),
        line("pause_video", "anna", 7, moment(2), COURSE, '{"id": "lecture1", "currentTime": 30.2}', "browser"),
        line("problem_check", "anna", 7, moment(3), COURSE, "input_quiz1_2_1=blue", "browser"),
        line("problem_check", "anna", 7, moment(4), COURSE, checked | {"correct_map": answers}),
    ]


def statements_of_the_week() -> list[dict]:
    """The same as statements: Anna is `a-1`."""
    mode = {W3 + "acrossx/extensions/type": "audit"}
    score = {"score": {"raw": 1, "max": 2, "min": 0, "scaled": 0.5}, "success": False}
    made = [
        statement("s0", "a-1", ADL + "verbs/registered", f"{LMS}/course/{COURSE}", moment(0), COURSE)
        | {"context": {}},
        statement("s1", "a-1", W3 + "video/verbs/played", xblock(VIDEO), moment(1), COURSE, result=position(0.5)),
        statement("s2", "a-1", W3 + "video/verbs/paused", xblock(VIDEO), moment(2), COURSE, result=position(30.2)),
        statement("s3", "a-1", ADL + "verbs/attempted", xblock(PROBLEM), moment(3), COURSE, kind=INTERACTION),
        statement(
            "s4", "a-1", W3 + "acrossx/verbs/evaluated", xblock(PROBLEM), moment(4), COURSE, kind=INTERACTION,
            object_kind="GroupActivity", result=score,
        ),
    ]  # fmt: skip
    made[0]["object"]["definition"] = {"type": ADL + "activities/course", "extensions": mode}
    for number, (question, success) in enumerate((("_2_1", True), ("_3_1", False))):
        child = statement(
            f"c{number}", "a-1", W3 + "acrossx/verbs/evaluated", xblock(PROBLEM) + question, moment(4), COURSE,
            kind=INTERACTION, result={"success": success, "response": "blue"},
        )  # fmt: skip
        course = child["context"]["contextActivities"]["parent"]
        problem = {"id": xblock(PROBLEM), "objectType": "GroupActivity", "definition": {"type": INTERACTION}}
        child["context"]["contextActivities"] = {"parent": [problem], "grouping": course}
        made.append(child)
    return made


def make_openedx() -> dict[str, list[dict]]:
    """Rows of every table by name, with every column filled somewhere: a week in both shapes, and a row of anything."""
    rows = {table: [{name: _filled(name, kind) for name, kind in _kinds(table).items()}] for table in _tables()}
    rows["tracking_log"] += [raw_row("tracking_log", record, "openedx") for record in lines_of_a_week()]
    rows["statements"] += [raw_row("statements", record, "openedx") for record in statements_of_the_week()]
    return rows


def _tables() -> list[str]:
    (source,) = yaml.safe_load(CONTRACT.read_text())["sources"]
    return [table["name"] for table in source["tables"]]


def _kinds(table: str) -> dict[str, str]:
    kinds = {column["name"]: column["data_type"] for column in columns_of(table)}
    return kinds | ({"event_date": "date"} if table in ("statements", "tracking_log") else {})


def _filled(name: str, kind: str) -> Any:
    texts = {"course_key": COURSE, "course_id": COURSE, "location": VIDEO, "object_id": VIDEO}
    texts |= {"correct_map": '{"quiz1_2_1": {"correctness": "correct"}}', "xblock_data_json": '{"block_type": "video"}'}
    if kind in ("date", "timestamp"):
        return datetime(2024, 3, 4)
    return texts.get(name, name) if kind == "varchar" else kind == "boolean" or 1
