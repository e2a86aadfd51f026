"""Whether the last week brought as many rows as weeks do."""

from dataclasses import dataclass

import numpy as np

WEEK = 7
TRAILING_WEEKS = 8
YEAR_WEEKS = 52
SLACK_WEEKS = 2  # terms begin up to two weeks earlier or later than a year ago
FACTOR = 2.0  # what is less than twice or half as much as usual is not worth a look
DEVIATIONS = 3.0  # "very conservative" in Leys et al.
SMALLEST_DAY = 10  # a day that never had fewer rows does not stay empty by chance


@dataclass(frozen=True)
class Volume:
    """What the last seven whole days brought.

    Attributes:
        count: rows of these days
        usual: median of the weeks before; nan where there are too few
        empty_days: which of the seven days (0: the first) had no row, though that day of the week always had
        why_unusual: in words; empty: it is as usual
        why_not_judged: in words; empty: it was judged
    """

    count: int
    usual: float = float("nan")
    empty_days: tuple[int, ...] = ()
    why_unusual: str = ""
    why_not_judged: str = ""


def judge_volume(days) -> Volume:
    """Rows of the last seven whole days against the eight weeks before, and against the same time a year ago.

    A week is unusual when it has less than half or more than twice the median of the trailing weeks, and lies more
    than three robust standard deviations from it: the median absolute deviation [1] of the counts as
    ``2 sqrt(n + 3/8)``, which gives a count a standard deviation of 1 whatever its size [2], so that small sources
    do not warn by chance. Breaks between terms and their ends are known by the year before: a week that leaves what is
    usual is excused when one at the same time of last year left it in the same direction, and by as much.

    Args:
        days (array of shape (n_days,), rows): every day without a gap, from the source's first to its newest one. The
            newest day may be incomplete and is left out.

    Notes:
        Weeks are seven days ending yesterday, not calendar weeks: each holds every day of the week once, and none is
        incomplete. A source of less than four such weeks before the last one is not judged; one of less than a year has
        no breaks to know, and warns at its first.

    References:
        [1] C. Leys et al. (2013), Detecting outliers: Do not use standard deviation around the mean, use absolute
            deviation around the median, Journal of Experimental Social Psychology 49(4), 764-766.
        [2] F. J. Anscombe (1948), The transformation of Poisson, binomial and negative-binomial data, Biometrika 35,
            246-254.
    """
    days = np.asarray(days, dtype=float)[:-1]
    weeks = days[len(days) % WEEK :].reshape(-1, WEEK)
    counts = weeks.sum(axis=1)
    if len(weeks) <= TRAILING_WEEKS // 2:
        count = int(counts[-1]) if len(counts) else 0
        return Volume(count, why_not_judged=f"it is the week {len(weeks)} of a new source")
    last = len(counts) - 1
    usual = float(np.median(counts[max(0, last - TRAILING_WEEKS) : last]))
    before = weeks[-1 - TRAILING_WEEKS : -1]
    always = (before >= SMALLEST_DAY).all(axis=0) & (len(before) == TRAILING_WEEKS)
    empty = tuple(int(day) for day in np.flatnonzero(always & (weeks[-1] == 0)))
    way = _way(counts, last)
    a_year_ago = range(last - YEAR_WEEKS - SLACK_WEEKS, last - YEAR_WEEKS + SLACK_WEEKS + 1)
    is_excused = any(
        _way(counts, week) == way and _departure(counts, week) * FACTOR >= _departure(counts, last)
        for week in a_year_ago
        if week > TRAILING_WEEKS // 2
    )
    told = ""
    if way and not is_excused:
        told = f"{counts[last]:,.0f} rows in a week, {usual:,.0f} are usual"
    elif empty:
        told = f"no row on {len(empty)} of seven days that always have some"
    return Volume(int(counts[last]), usual, empty, told)


def _way(counts: np.ndarray, week: int) -> int:
    """-1, 1: far fewer or more rows than in the weeks before; 0: neither."""
    trailing = counts[max(0, week - TRAILING_WEEKS) : week]
    usual, count = np.median(trailing), counts[week]
    roots = 2 * np.sqrt(trailing + 3 / 8)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(roots - np.median(roots)))))
    if abs(2 * np.sqrt(count + 3 / 8) - np.median(roots)) <= DEVIATIONS * spread:
        return 0
    return -1 if count * FACTOR < usual else int(count > usual * FACTOR)


def _departure(counts: np.ndarray, week: int) -> float:
    """By which factor a week differs from the median of those before, in either direction."""
    usual = float(np.median(counts[max(0, week - TRAILING_WEEKS) : week])) + 1
    return max(usual / (counts[week] + 1), (counts[week] + 1) / usual)
