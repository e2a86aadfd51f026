"""How the pipeline does: its last runs, what went in and came out, what the checks found, what each step cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_project.report.page import About, is_missing, records, render

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

READS = ("ops.pipeline_status", "ops.pipeline_steps", "ops.pipeline_checks")
RUNS = 20
STEPS = 25
WORDS = {"published": "published", "publishing": "this run", "failed": "failed", "ended": "ended, nothing published"}


def make_page(warehouse: Warehouse, about: About | None = None) -> str:
    """The page; a warehouse without any run has one that says so."""
    runs, steps, checks = (warehouse.read(name) for name in READS)
    values = {}
    if len(runs):
        told = [_run(run) for run in records(runs.sort_values("started_at", ascending=False).head(RUNS))]
        last = told[0]
        of_last = checks[checks["run_id"] == last["run_id"]]
        broken = of_last[~of_last["is_passed"].astype(bool)]
        values = {
            "last": last,
            "runs": told,
            "refused_share": f"{last['refused'] / (last['refused'] + last['loaded']):.3%} of what landed"
            if last["refused"] + last["loaded"]
            else "nothing new had landed",
            "age": _age(last["snapshot_age_hours"], last["status"]),
            "check_count": len(of_last),
            "broken": records(broken.sort_values(["is_blocking", "table_name"], ascending=[False, True])),
            **_steps(steps[steps["run_id"] == last["run_id"]]),
        }
    return render("pipeline_status.html", about or About(), **{"runs": [], **values})


def _run(run: dict) -> dict:
    return run | {
        "begun": "–" if is_missing(run["started_at"]) else f"{run['started_at']:%Y-%m-%d %H:%M}",
        "result": WORDS.get(run["status"], run["status"]),
        "time": _seconds(run["duration_seconds"]),
        "memory": _mib(run["peak_memory_mib"]),
        "loaded": int(run["loaded_row_count"]),
        "refused": int(run["refused_row_count"]),
        "built": int(run["built_row_count"]),
    }


def _steps(steps: pd.DataFrame) -> dict:
    longest = steps.sort_values("duration_seconds", ascending=False).head(STEPS)
    total = steps["duration_seconds"].sum()
    rest = total - longest["duration_seconds"].sum()
    most = max(longest["duration_seconds"].max(), 1e-9) if len(longest) else 1
    return {
        "steps": [
            step
            | {
                "time": _seconds(step["duration_seconds"]),
                "memory": _mib(step["peak_memory_mib"]),
                "share_of_longest": step["duration_seconds"] / most,
            }
            for step in records(longest)
        ],
        "step_count": len(steps),
        "rest": _seconds(rest) if rest > 0 else "",
        "total": _seconds(total),
    }


def _seconds(seconds: float | None) -> str:
    if seconds is None or is_missing(seconds):
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _mib(mib: float | None) -> str:
    return "–" if mib is None or is_missing(mib) else f"{mib:,.0f} MiB"


def _age(hours: float | None, status: str) -> str:
    if hours is None or is_missing(hours):
        return "none before this one" if status == "publishing" else "none is published yet"
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
