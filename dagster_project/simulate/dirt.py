"""Planted dirt: what goes wrong in real deliveries, each kind at a known count.

Harmless or removable by construction: without it the analysis tables are the same.

events
    duplicate            the row once more, to the letter, in the same or the next file: one remains by event_id
    late                 received 1 to 10 days after it happened, so it lies in a later file than its neighbours
    out_of_order         two neighbouring rows of a file change places
    clock_ahead          the device's clock runs up to 5 minutes fast: occurred_at after received_at, but by date still
                         right; it is known at the later of the two. To be kept and counted
    clock_reset          an extra row of 1970: outside the contract's time range, to be refused
    malformed            an extra row without learner_id, which is required, to be refused
    unknown_reference    an extra row of a learner × course × term without an enrollment
submissions
    duplicate            the row once more, to the letter
    resubmission         a second attempt; the first one counts
    malformed            an extra row with a score or a date that is none, or with too few fields, to be refused
    unknown_reference    an extra row of an item that does not exist
course_enrollments
    reenrollment         learner × course × term twice: dropped before the start, then enrolled again: two
                         registrations, one enrollment
    malformed, unknown_reference   likewise (a date that is none; a course that does not exist)
support_tickets
    unknown_reference    of a learner that does not exist
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

DUPLICATE_RATE = 0.002
LATE_RATE = 0.001
CLOCK_AHEAD_RATE = 0.0005
SWAP_RATE = 0.0005
EXTRA_RATE = 0.0001  # of each kind of extra row
REENROLLMENT_RATE = 0.01
RESUBMISSION_RATE = 0.08


@dataclass
class Dirt:
    """Counts by table and kind."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, table: str, kind: str, count: int) -> None:
        """Notes planted rows."""
        self.counts[table, kind] += int(count)

    def nested(self) -> dict[str, dict[str, int]]:
        """Counts as table → kind → rows."""
        tables: dict[str, dict[str, int]] = {}
        for (table, kind), count in sorted(self.counts.items()):
            tables.setdefault(table, {})[kind] = count
        return tables


def some(rng: np.random.Generator, n: int, rate: float) -> int:
    """How many rows of a kind: the rate's share, rounded at random to a whole number."""
    return int(n * rate + rng.random())
