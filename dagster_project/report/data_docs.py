"""Data Docs: what every expectation is, and what it found when its table was last checked, one page a table.

Written from validation results in the words of Great Expectations (`results`, `expectation_config`, `unexpected_percent`
…), which lie beside the pages as JSON. Its own renderer is not used: its pages load styles, scripts and icons from six
hosts, are bare lists without a network, show values of rows, and cost a tenth of a second each.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from dagster_project.report.page import document, table
from dagster_project.settings import Settings

LAYERS = ("raw", "core", "marts", "analytics", "reporting", "ops")
STATES = {"passed": "holds", "warning": "does not hold, warns", "critical": "does not hold, blocks"}


def write_table(settings: Settings, validation: Mapping) -> Path:
    """Write the result of a table's suite and its page; returns the page.

    Args:
        validation: `meta` (`table`, `validated_at` as UTC in ISO format, `run_id`, `rows`, `part`: which part of the
            table was looked at, empty: all) and `results`, one an expectation, as `dagster_project.defs.quality.bridge`
            makes them.
    """
    name = validation["meta"]["table"]
    _write(_results(settings) / f"{name}.json", json.dumps(validation, indent=1) + "\n")
    page = settings.data_docs_dir / f"{name}.html"
    _write(page, _table_page(validation))
    return page


def write_index(settings: Settings, tables: Collection[str]) -> Path:
    """Write the page of all tables that were ever checked; what is left of others than `tables` goes."""
    validations = []
    for file in sorted(_results(settings).glob("*.json")):
        if file.stem in tables:
            validations.append(json.loads(file.read_text()))
        else:
            _remove(settings, file.stem)
    index = settings.data_docs_dir / "index.html"
    _write(index, _index_page(validations, len(tables)))
    return index


def is_refused(settings: Settings, table_name: str) -> bool:
    """Whether a critical expectation of a table ("schema.table") did not hold when it was last checked."""
    file = _results(settings) / f"{table_name}.json"
    return file.exists() and _count([json.loads(file.read_text())], "critical") > 0


def remove_older(settings: Settings, validated_before: datetime) -> int:
    """Remove results and pages from before a time (UTC without zone), such as those that may name an erased learner.

    The next run writes them anew. Returns how many tables they were of.
    """
    older = [
        file.stem
        for file in sorted(_results(settings).glob("*.json"))
        if datetime.fromisoformat(json.loads(file.read_text())["meta"]["validated_at"]) <= validated_before
    ]
    for name in older:
        _remove(settings, name)
    return len(older)


def _results(settings: Settings) -> Path:
    return settings.data_docs_dir / "results"


def _remove(settings: Settings, name: str) -> None:
    (settings.data_docs_dir / f"{name}.html").unlink(missing_ok=True)
    (_results(settings) / f"{name}.json").unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f"{path.name}.incoming")
    incoming.write_text(text)
    incoming.replace(path)


def _state(result: Mapping) -> str:
    return "passed" if result["success"] else result["expectation_config"]["severity"]


def _count(validations: Sequence[Mapping], state: str) -> int:
    return sum(_state(result) == state for validation in validations for result in validation["results"])


def _index_page(validations: Sequence[Mapping], tables: int) -> str:
    critical, warning = _count(validations, "critical"), _count(validations, "warning")
    total = sum(len(validation["results"]) for validation in validations)
    body = [
        _cards(
            (f"{len(validations)} of {tables} tables", "with a suite have been checked", False),
            (f"{total:,} expectations", "each is a check in the Dagster UI too", False),
            (f"{critical} block", "critical ones that did not hold", critical > 0),
            (f"{warning} warn", "others that did not hold", warning > 0),
        )
    ]
    broken = [x for x in validations if _count([x], "passed") < len(x["results"])]
    if broken:
        body += ['<h2 id="broken">Tables with expectations that did not hold</h2>', _tables(broken)]
    for layer in sorted({_layer(x) for x in validations}, key=LAYERS.index):
        body += [f'<h2 id="{layer}">{layer}</h2>', _tables([x for x in validations if _layer(x) == layer])]
    newest = max((x["meta"]["validated_at"] for x in validations), default=None)
    return document(
        "Data Docs",
        "What is expected of the tables of this warehouse, and what was found"
        + (f"; the newest check is of {_time(newest)} UTC." if newest else ". Nothing has been checked yet."),
        body,
        links=[(layer, layer) for layer in LAYERS if any(_layer(x) == layer for x in validations)],
        foot="From the suites in expectations/, written by each run after it has checked a table; a page without an "
        "expectation that failed still tells what was seen. Keys of learners are pseudonyms: keep these pages as you keep "
        "marts, for those who may see rows of single learners. Results as JSON: results/.",
    )


def _layer(validation: Mapping) -> str:
    schema = validation["meta"]["table"].partition(".")[0]
    return "raw" if schema.startswith("raw_") else schema


def _tables(validations: Sequence[Mapping]) -> str:
    heads = [("Table", False), ("Rows", True), ("Expectations", True), ("Block", True), ("Warn", True)]
    rows = []
    for validation in validations:
        meta = validation["meta"]
        numbers = [f"{meta['rows']:,}", f"{len(validation['results'])}"]
        numbers += [f"{n}" if (n := _count([validation], state)) else "–" for state in ("critical", "warning")]
        cells = "".join(f"<td class=number>{number}</td>" for number in numbers)
        name = escape(meta["table"])
        part = f" <span class=muted>{escape(meta['part'])}</span>" if meta["part"] else ""
        rows.append(
            f'<tr><td><a href="{name}.html">{name}</a>{part}</td>{cells}<td>{_time(meta["validated_at"])}</td></tr>'
        )
    return table([*heads, ("Checked, UTC", False)], rows)


def _table_page(validation: Mapping) -> str:
    meta, results = validation["meta"], validation["results"]
    broken = sorted((x for x in results if not x["success"]), key=_state)
    body = ['<p><a href="index.html">All tables</a></p>']
    body.append(
        _cards(
            (f"{meta['rows']:,} rows", meta["part"] or "all rows of the table", False),
            (f"{len(results) - len(broken)} of {len(results)} hold", "expectations", False),
            *(
                (f"{n} {word}", f"{state} and not met", True)
                for state, word in (("critical", "block"), ("warning", "warn"))
                if (n := _count([validation], state))
            ),
        )
    )
    if broken:
        body += ['<h2 id="broken">What does not hold, and what to do</h2>', *(_broken(result) for result in broken)]
    body += ['<h2 id="all">What is expected</h2>', table(HEADS, [_row(result) for result in results])]
    return document(
        meta["table"],
        f"Checked on {_time(meta['validated_at'])} UTC against expectations/{meta['table']}.json.",
        body,
        links=[("broken", "What does not hold"), ("all", "What is expected")] if broken else [],
        foot=f"Run {escape(meta['run_id'])}. Keys of learners are pseudonyms.",
    )


HEADS = [("Expectation", False), ("It", False), ("Columns", False), ("Rule", False), ("Values judged", True)]
HEADS += [("Unexpected", True), ("Observed", False)]


def _row(result: Mapping) -> str:
    config, found = result["expectation_config"], result["result"]
    share = f"{found['unexpected_count']:,} ({found['unexpected_percent']:.2f} %)" if found["unexpected_count"] else "0"
    color = "" if result["success"] else ' class="sure down"'
    return (
        f"<tr><td>{escape(config['id'].replace('_', ' '))}</td><td{color}>{STATES[_state(result)]}</td>"
        f"<td>{escape(', '.join(config['columns']))}</td><td>{escape(config['rule'])}</td>"
        f"<td class=number>{found['judged_count']:,}</td><td class=number>{share}</td>"
        f"<td>{escape(_observed(found))}</td></tr>"
    )


def _broken(result: Mapping) -> str:
    config, found = result["expectation_config"], result["result"]
    kind = "blocks" if _state(result) == "critical" else "warns"
    parts = [
        f"<h3>{escape(config['id'].replace('_', ' '))} <span class=muted>({kind})</span></h3>",
        f"<p>{escape(', '.join(config['columns']))}: {escape(config['rule'])}. ",
        f"Unexpected are {found['unexpected_count']:,} of {found['judged_count']:,} values "
        f"({found['unexpected_percent']:.2f} %)."
        if found["unexpected_count"]
        else "",
        f" Observed: {escape(_observed(found))}." if found["observed_value"] else "",
        "</p>",
        f"<p>{escape(found['exception'])}</p>" if found["exception"] else "",
        f'<div class="note"><p><b>What to do.</b> {escape(config["notes"])}</p></div>',
    ]
    if examples := found["partial_unexpected_index_list"]:
        heads = [(escape(name), False) for name in examples[0]]
        rows = ["<tr>" + "".join(f"<td>{escape(v)}</td>" for v in example.values()) + "</tr>" for example in examples]
        parts.append(f"<details open><summary>Examples: {len(examples)} rows</summary>{table(heads, rows)}</details>")
    if found["unexpected_index_query"]:
        query = escape(found["unexpected_index_query"])
        parts.append(f"<details><summary>All of them, as a query</summary><p><code>{query}</code></p></details>")
    return "".join(parts)


def _observed(found: Mapping) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in found["observed_value"].items()) or "–"


def _short(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _cards(*cards: tuple[str, str, bool]) -> str:
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card{" down" if is_bad else ""}"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
            for big, small, is_bad in cards
        )
        + "</div>"
    )


def _time(written: str) -> str:
    return f"{datetime.fromisoformat(written):%Y-%m-%d %H:%M}"
