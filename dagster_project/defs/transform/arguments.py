"""What a run tells dbt: pure functions, so that the command line can be tested without dbt."""

import json
from collections.abc import Iterable, Mapping
from datetime import date


def rebuild_window(first: date | None, last: date | None, changed: Iterable[date]) -> dict:
    """Event dates that one source must rebuild: a range, and the changed dates outside it."""
    has_range = first is not None and last is not None
    return {
        "from": first.isoformat() if has_range else None,
        "to": last.isoformat() if has_range else None,
        "dates": sorted(day.isoformat() for day in changed if not (has_range and first <= day <= last)),
    }


def build_arguments(rebuild: Mapping[str, dict] | None) -> list[str]:
    """The dbt command that builds and tests the selected models.

    Args:
        rebuild: for each source in the run, its `rebuild_window`. Sources that are not named keep their activity;
            None: all activity of all sources is built.

    Unit tests are left to `make test`: they prove logic, not data, and cost time on every run.
    """
    variables = [] if rebuild is None else ["--vars", json.dumps({"rebuild": rebuild}, sort_keys=True)]
    return ["build", "--exclude-resource-type", "unit_test", *variables]
