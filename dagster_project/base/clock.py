"""The present, as everything in the warehouse takes it that a date matters to: freshness, rhythms, retention, names.

`LEARNING_WAREHOUSE_CLOCK` sets it, for rehearsals and tests: a process then begins at that moment and goes on from
there. Dagster's own records and the times of files stay those of the machine.
"""

import os
from datetime import UTC, date, datetime, timedelta
from functools import cache

VARIABLE = "LEARNING_WAREHOUSE_CLOCK"


def read(text: str) -> datetime:
    """A moment as ISO 8601; without a zone it is UTC.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def now() -> datetime:
    """The present with its zone, UTC."""
    text = os.environ.get(VARIABLE)
    shift = _shift(text) if text else timedelta()
    return datetime.now(UTC) + shift


def now_as_stored() -> datetime:
    """The present as tables hold it: UTC without a zone."""
    return now().replace(tzinfo=None)


def today() -> date:
    """The day in UTC."""
    return now().date()


def timestamp() -> float:
    """The present in seconds since 1970."""
    return now().timestamp()


@cache
def _shift(text: str) -> timedelta:
    """How far the set clock is from the machine's, from the first look of this process on."""
    return read(text) - datetime.now(UTC)
