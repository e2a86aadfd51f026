"""How the pipeline does: its last runs, what went in and came out, what the checks found, what each step cost."""

from __future__ import annotations

from html import escape

import pandas as pd

from dagster_project.report.page import document, table
from dagster_project.store.warehouse import Warehouse

READS = ("ops.pipeline_status", "ops.pipeline_steps", "ops.pipeline_checks")
RUNS = 20
STEPS = 25
WORDS = {"published": "published", "publishing": "this run", "failed": "failed", "ended": "ended, nothing published"}


def make_page(warehouse: Warehouse) -> str:
    """The page; a warehouse without any run has one that says so."""
    runs, steps, checks = (warehouse.read(name) for name in READS)
    if runs.empty:
        return document("Pipeline status", "No run has been recorded yet.", [])
    runs = runs.sort_values("started_at", ascending=False).head(RUNS)
    last = runs.iloc[0]
    return document(
        "Pipeline status",
        f"The last run began on {last['started_at']:%Y-%m-%d at %H:%M} UTC. What went in, what came out, "
        "what the checks found and what each step cost.",
        [
            _cards(last),
            '<h2 id="runs">Last runs</h2>',
            _runs(runs),
            '<h2 id="checks">Checks that did not pass in the last run</h2>',
            _checks(checks[checks["run_id"] == last["run_id"]]),
            '<h2 id="steps">Steps of the last run, the longest first</h2>',
            _steps(steps[steps["run_id"] == last["run_id"]]),
        ],
        links=[("runs", "Runs"), ("checks", "Checks"), ("steps", "Steps")],
        foot="Tables ops.pipeline_status, pipeline_steps and pipeline_checks. The page of a snapshot is written just before "
        "its publication: that run stands in it as “this run”. After each run the page is written again under "
        "warehouse/artifacts/pages, also after one that failed.",
    )


def _cards(last: pd.Series) -> str:
    failed, warned = int(last["failed_check_count"]), int(last["warning_count"])
    refused, loaded = int(last["refused_row_count"]), int(last["loaded_row_count"])
    share = f"{refused / (refused + loaded):.3%} of what landed" if refused + loaded else "nothing new had landed"
    age = "none is published yet" if pd.isna(last["snapshot_age_hours"]) else _age(last["snapshot_age_hours"])
    cards = [
        (
            WORDS.get(last["status"], last["status"]),
            f"{_seconds(last['duration_seconds'])}, {_mib(last)}",
            last["status"],
        ),
        (f"{loaded:,} rows in", f"from {last['loaded_file_count']:,} new files; {last['raw_row_count']:,} in raw", ""),
        (f"{refused:,} refused", f"{share}; kept in quarantine", ""),
        (f"{last['built_row_count']:,} rows out", f"in {last['built_table_count']:,} tables", ""),
        (f"{failed} failed, {warned} warned", f"of {last['check_count']:,} checks", "failed" if failed else ""),
        (age, "age of the snapshot that readers saw when this was written", ""),
    ]
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card{" down" if state == "failed" else ""}"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
            for big, small, state in cards
        )
        + "</div>"
    )


def _runs(runs: pd.DataFrame) -> str:
    heads = [("Begun, UTC", False), ("Source", False), ("Result", False), ("Time", True), ("Memory", True)]
    heads += [("Rows in", True), ("Refused", True), ("Rows out", True), ("Checks failed / warned / all", True)]
    rows = []
    for _, run in runs.iterrows():
        result = WORDS.get(run["status"], run["status"])
        if pd.notna(run["problem"]):
            result += f": {run['problem']}"
        counts = f"{run['failed_check_count']} / {run['warning_count']} / {run['check_count']}"
        cells = [f"{run['started_at']:%Y-%m-%d %H:%M}" if pd.notna(run["started_at"]) else "–"]
        cells += [run["source"] if pd.notna(run["source"]) else "all", result]
        numbers = [_seconds(run["duration_seconds"]), _mib(run)]
        numbers += [f"{int(run[name]):,}" for name in ("loaded_row_count", "refused_row_count", "built_row_count")]
        rows.append(_row(cells, [*numbers, counts]))
    return table(heads, rows)


def _checks(checks: pd.DataFrame) -> str:
    broken = checks[~checks["is_passed"].astype(bool)].sort_values(
        ["is_blocking", "table_name"], ascending=[False, True]
    )
    if broken.empty:
        return f"<p>All {len(checks):,} checks that were evaluated passed.</p>"
    heads = [("Table", False), ("Check", False), ("It", False), ("What was found, what to do", False), ("Rows", True)]
    return table(
        heads,
        [
            _row(
                [
                    row["table_name"],
                    row["check_name"].replace("_", " "),
                    "blocks" if row["is_blocking"] else "warns",
                    row["finding"] if pd.notna(row["finding"]) else "",
                ],
                [f"{int(row['unexpected_row_count']):,}" if pd.notna(row["unexpected_row_count"]) else "–"],
            )
            for _, row in broken.iterrows()
        ],
    )


def _steps(steps: pd.DataFrame) -> str:
    longest = steps.sort_values("duration_seconds", ascending=False).head(STEPS)
    total = steps["duration_seconds"].sum()
    most = max(longest["duration_seconds"].max(), 1e-9) if len(longest) else 1
    heads = [("Step", False), ("Result", False), ("Time", True), ("", False), ("Memory at most", True)]
    rows = []
    for _, step in longest.iterrows():
        bar = f'<svg width="160" height="10" role="img"><rect width="{160 * step["duration_seconds"] / most:.1f}" height="10" fill="#0b6e63"/></svg>'
        rows.append(
            f"<tr><td>{escape(step['step'].replace('__', ' · '))}</td><td>{escape(step['status'])}</td>"
            f"<td class=number>{_seconds(step['duration_seconds'])}</td><td>{bar}</td><td class=number>{_mib(step)}</td></tr>"
        )
    rest = total - longest["duration_seconds"].sum()
    more = f"{len(steps) - len(longest)} more steps took {_seconds(rest)} together; all" if rest > 0 else "All"
    return table(heads, rows) + f'<p class="muted">{more} {len(steps)} steps took {_seconds(total)}.</p>'


def _row(cells: list[str], numbers: list[str]) -> str:
    texts = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return "<tr>" + texts + "".join(f"<td class=number>{escape(number)}</td>" for number in numbers) + "</tr>"


def _seconds(seconds: float | None) -> str:
    if pd.isna(seconds):
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _mib(row: pd.Series) -> str:
    return "–" if pd.isna(row["peak_memory_mib"]) else f"{row['peak_memory_mib']:,.0f} MiB"


def _age(hours: float) -> str:
    return (
        f"{hours * 60:.0f} minutes" if hours < 1 else f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
    )
