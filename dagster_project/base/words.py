"""Names that somebody may have meant."""

import difflib
from collections.abc import Iterable

CUTOFF = 0.6
"""Likeness from which on a name is worth a question; `difflib` has two equal ones at 1."""


def nearest(wanted: str, names: Iterable[str]) -> str | None:
    """The name that is most like the one wanted, capitals apart; None: none is like it."""
    lowered = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(wanted.lower(), lowered, n=1, cutoff=CUTOFF)
    return lowered[matches[0]] if matches else None


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """The question whether 'x' was meant, with a blank before it; empty where no name is like the one wanted."""
    found = nearest(wanted, names)
    return f" Did you mean {found!r}?" if found else ""
