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
