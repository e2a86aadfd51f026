"""What suites found when they last checked a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dagster_project.settings import Settings


def is_refused(settings: Settings, table_name: str) -> bool:
    """Whether a critical expectation of a table ("schema.table") did not hold when it was last checked."""
    file = results_folder(settings) / f"{table_name}.json"
    return file.exists() and count_results([json.loads(file.read_text())], "critical") > 0


def remove_older(settings: Settings, validated_before: datetime) -> int:
    """Remove results and pages from before a time (UTC without zone), such as those that may name an erased learner.

    The next run writes them anew. Returns how many tables they were of.
    """
    older = [
        file.stem
        for file in sorted(results_folder(settings).glob("*.json"))
        if datetime.fromisoformat(json.loads(file.read_text())["meta"]["validated_at"]) <= validated_before
    ]
    for name in older:
        remove_table(settings, name)
    return len(older)


def results_folder(settings: Settings) -> Path:
    return settings.data_docs_dir / "results"


def remove_table(settings: Settings, name: str) -> None:
    (settings.data_docs_dir / f"{name}.html").unlink(missing_ok=True)
    (results_folder(settings) / f"{name}.json").unlink(missing_ok=True)


def state_of(result: Mapping) -> str:
    return "passed" if result["success"] else result["expectation_config"]["severity"]


def count_results(validations: Sequence[Mapping], state: str) -> int:
    return sum(state_of(result) == state for validation in validations for result in validation["results"])
