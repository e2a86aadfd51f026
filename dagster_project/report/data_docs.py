"""Data Docs: what every expectation is, and what it found when its table was last checked, one page a table.

Written from validation results in the words of Great Expectations (`results`, `expectation_config`,
`unexpected_percent` …), which lie beside the pages as JSON. Its own renderer is not used: its pages load styles,
scripts and icons from six hosts, are bare lists without a network, show values of rows, and cost a tenth of a second
each.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.report.page import About, render
from dagster_project.settings import Settings
from dagster_project.store.findings import count_results, remove_table, results_folder, state_of
from dagster_project.store.publish import name_snapshot

LAYERS = ("raw", "core", "marts", "analytics", "reporting", "ops")
NO_SOURCE = About()


def write_table(settings: Settings, validation: Mapping, about: About = NO_SOURCE) -> Path:
    """Write the result of a table's suite and its page; returns the page.

    Args:
        validation: `meta` (`table`, `validated_at` as UTC in ISO format, `run_id`, `rows`, `part`: which part of the
            table was looked at, empty: all) and `results`, one an expectation, as `dagster_project.defs.quality.bridge`
            makes them.
        about: the sources of the warehouse.
    """
    name = validation["meta"]["table"]
    _write(results_folder(settings) / f"{name}.json", json.dumps(validation, indent=1) + "\n")
    page = settings.data_docs_dir / f"{name}.html"
    _write(page, _table_page(validation, about.of_table(name)))
    return page


def write_index(settings: Settings, tables: Collection[str], about: About = NO_SOURCE) -> Path:
    """Write the page of all tables that were ever checked; what is left of others than `tables` goes."""
    validations = []
    for file in sorted(results_folder(settings).glob("*.json")):
        if file.stem in tables:
            validations.append(json.loads(file.read_text()))
        else:
            remove_table(settings, file.stem)
    index = settings.data_docs_dir / "index.html"
    _write(index, _index_page(validations, len(tables), about))
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


def _index_page(validations: Sequence[Mapping], table_count: int, about: About) -> str:
    found = [_summary(validation) for validation in validations]
    layers = [(layer, [one for one in found if one["layer"] == layer]) for layer in LAYERS]
    newest = max((x["meta"]["validated_at"] for x in validations), default=None)
    return render(
        "data_docs_index.html",
        about,
        tables=found,
        layers=[(layer, those) for layer, those in layers if those],
        broken=[one for one in found if one["critical"] or one["warning"]],
        table_count=table_count,
        critical=count_results(validations, "critical"),
        warning=count_results(validations, "warning"),
        newest=newest and _time(newest),
    )


def _summary(validation: Mapping) -> dict:
    """A line of the index."""
    meta = validation["meta"]
    schema = meta["table"].partition(".")[0]
    return {
        "name": meta["table"],
        "layer": "raw" if schema.startswith("raw_") else schema,
        "part": meta["part"],
        "rows": meta["rows"],
        "expectations": len(validation["results"]),
        "critical": count_results([validation], "critical"),
        "warning": count_results([validation], "warning"),
        "checked_at": _time(meta["validated_at"]),
    }


def _table_page(validation: Mapping, about: About) -> str:
    meta = validation["meta"]
    results = [
        result["expectation_config"]
        | result["result"]
        | {"state": state_of(result), "observed": _observed(result["result"])}
        for result in validation["results"]
    ]
    return render(
        "data_docs_table.html",
        about,
        meta=meta,
        checked_at=_time(meta["validated_at"]),
        results=results,
        broken=sorted((x for x in results if x["state"] != "passed"), key=lambda x: x["state"]),
        critical=count_results([validation], "critical"),
        warning=count_results([validation], "warning"),
    )


def _observed(found: Mapping) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in found["observed_value"].items()) or "–"


def _short(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _time(written: str) -> str:
    return f"{datetime.fromisoformat(written):%Y-%m-%d %H:%M}"
