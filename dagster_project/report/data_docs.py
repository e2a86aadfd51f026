"""Data Docs: what every expectation is, and what it found when its table was last checked, one page a table.

Made of `ops.findings` (`store/findings.py`). The renderer of Great Expectations is not used: its pages load styles,
scripts and icons from six hosts, are bare lists without a network, show values of rows, and cost a tenth of a second
each.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from dagster_project.base.files import replaced
from dagster_project.report.page import About, render
from dagster_project.settings import Settings
from dagster_project.store.findings import count, page_of, read, state_of
from dagster_project.store.publish import name_snapshot

LAYERS = ("raw", "core", "marts", "analytics", "reporting", "learners", "ops")
NO_SOURCE = About()
INDEX = "index.html"


class LastRun(NamedTuple):
    """What a run counted, as the page of the pipeline tells it: expectations and every other check.

    Attributes:
        checks: how many were evaluated.
        failed, warned: how many of them did not pass and blocked, or warned.
        broken: those, each with table_name, check_name, is_blocking and finding.
    """

    checks: int
    failed: int
    warned: int
    broken: Sequence[Mapping]


def write_pages(
    settings: Settings, checked: Collection[str], tables: Collection[str], about: About = NO_SOURCE
) -> Path:
    """Make the pages of tables that were checked, and of all others that lack one, and the index; returns the index.

    Args:
        checked: tables ("schema.table") of which something new was found.
        tables: all tables that a suite is about.
        about: the sources of the warehouse.
    """
    found = {table: list(rows) for table, rows in groupby(read(settings), key=lambda row: row["table_name"])}
    for table, rows in found.items():
        page = page_of(settings, table)
        if table in checked or not page.exists():
            _write(page, _table_page(table, rows, about.of_table(table)))
    index = settings.data_docs_dir / INDEX
    _write(index, _index_page(found, len(tables), about))
    for page in settings.data_docs_dir.glob("*.html"):
        if page != index and page.stem not in found:
            page.unlink()
    return index


def write_index(settings: Settings, tables: Collection[str], about: About, last_run: LastRun) -> Path:
    """Make the index anew once a run has ended, with the count of all its checks; returns the index.

    Args:
        tables: all tables that a suite is about.
    """
    found = {table: list(rows) for table, rows in groupby(read(settings), key=lambda row: row["table_name"])}
    index = settings.data_docs_dir / INDEX
    _write(index, _index_page(found, len(tables), about, last_run))
    return index


def write_snapshot(settings: Settings, snapshot_id: str) -> None:
    """Tell on the pages that no snapshot was named on yet in which one the tables that they are of were published."""
    for page in sorted(settings.data_docs_dir.glob("*.html")):
        text = page.read_text()
        if (named := name_snapshot(text, snapshot_id)) != text:
            _write(page, named)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as incoming:
        incoming.write_text(text)


def _index_page(
    found: Mapping[str, Sequence[Mapping]], table_count: int, about: About, last_run: LastRun | None = None
) -> str:
    expectations = {(table, row["expectation"]) for table, rows in found.items() for row in rows}
    broken = last_run.broken if last_run else ()
    lines = [_summary(table, rows) for table, rows in found.items()]
    layers = [(layer, [one for one in lines if one["layer"] == layer]) for layer in LAYERS]
    newest = max((row["validated_at"] for rows in found.values() for row in rows), default=None)
    return render(
        "data_docs_index.html",
        about,
        tables=lines,
        layers=[(layer, those) for layer, those in layers if those],
        broken=[one for one in lines if one["critical"] or one["warning"]],
        table_count=table_count,
        critical=sum(one["critical"] for one in lines),
        warning=sum(one["warning"] for one in lines),
        newest=newest and _time(newest),
        last_run=last_run,
        others=[check for check in broken if (check["table_name"], check["check_name"]) not in expectations],
    )


def _summary(table: str, rows: Sequence[Mapping]) -> dict:
    """A line of the index."""
    schema = table.partition(".")[0]
    return {
        "name": table,
        "layer": "raw" if schema.startswith("raw_") else schema,
        "expectations": len(rows),
        **_of_table(rows),
    }


def _of_table(rows: Sequence[Mapping]) -> dict:
    return {
        "rows": max(row["row_count"] for row in rows),
        "part": rows[0]["part"],
        "critical": count(rows, "critical"),
        "warning": count(rows, "warning"),
        "checked_at": _time(rows[0]["validated_at"]),
    }


def _table_page(table: str, rows: Sequence[Mapping], about: About) -> str:
    told = [
        dict(row)
        | {
            "state": state_of(row),
            "observed": _observed(json.loads(row["observed"] or "{}")),
            "examples": json.loads(row["examples"] or "[]"),
            "unexpected_percent": 100 * row["unexpected_count"] / max(row["judged_count"], 1),
        }
        for row in rows
    ]
    return render(
        "data_docs_table.html",
        about,
        name=table,
        run_id=rows[0]["run_id"],
        found=told,
        broken=sorted((row for row in told if row["state"] != "passed"), key=lambda row: row["state"]),
        **_of_table(rows),
    )


def _observed(found: Mapping) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in found.items()) or "–"


def _short(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
