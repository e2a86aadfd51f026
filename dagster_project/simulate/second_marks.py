"""Second marks: hand-ins that another kind of grader marks too, with planted severity. No grade changes by them.

What was given first is taken as it is: a part of what it deviates from the learner's standing is the hand-in's own,
the rest the marker's chance. The second mark is the same quality with a chance of its own, less the severity of who
gives it.
Staff mark again what peers graded, rather where the grade was poor, so that the mean difference of the two marks is not
the severity; an automatic grader marks what staff graded, drawn by lot.
"""

from typing import Any

import numpy as np

from dagster_project.simulate import courses as course

DAY = 86_400
OWN_SHARE = 0.7  # of the variance of a grade around the standing
PEER_SEVERITY, PEER_DRIFT, AUTOMATIC_SEVERITY = -5.0, 1.0, 3.0  # points against staff; points a year
PEER_SEVERITY_AT = 2021.5
GRADERS, GRADER_SPREAD = 60, 3.0  # staff who mark again; sd of their severities in points
AGAIN_BY_STAFF, AGAIN_IF_POOR, POOR = 0.12, 0.35, 70.0
AGAIN_BY_MACHINE = 0.08
STAFF, AUTOMATIC = 0, 1


def half_year(day: np.ndarray) -> np.ndarray:
    """Half-year of days since 1970, as 2024.0 and 2024.5."""
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return 1970 + months // 6 / 2


def peer_severity(at: np.ndarray) -> np.ndarray:
    """Planted severity of peers by half-year, in points against staff."""
    return PEER_SEVERITY + PEER_DRIFT * (at - PEER_SEVERITY_AT)


class SecondMarks:
    """Draws second marks, and keeps what was planted."""

    def __init__(self, seed: int, deviation: float) -> None:
        self.rng = np.random.default_rng([seed, 31])
        self.own = np.sqrt(OWN_SHARE) * deviation
        self.chance = np.sqrt(1 - OWN_SHARE) * deviation
        graders = self.rng.normal(0, GRADER_SPREAD, GRADERS)
        self.graders = graders - graders.mean()
        self.sums: dict[tuple[str, float], np.ndarray] = {}  # (kind, half-year) → points fewer, hand-ins

    def of(
        self, kind: np.ndarray, rows: dict[str, np.ndarray], level: np.ndarray, standing: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Marks of first hand-ins.

        Args:
            kind: of the item of each hand-in.
            rows: enrollment, item, at, released, score: columns of the hand-ins.
            level: their grades before they were cut to 0 to 100.
            standing: of the learners in the courses.

        Returns:
            Columns enrollment, item, attempt, at, score, by, grader (-1: none).
        """
        rng, n = self.rng, len(kind)
        is_peer, is_staff = kind == course.PEER, kind == course.STAFF
        released = half_year(rows["released"] // DAY)
        first_severity = np.where(is_peer, peer_severity(released), 0.0)
        spread = self.own * np.sqrt(1 - OWN_SHARE)
        quality = standing + first_severity + OWN_SHARE * (level - standing) + rng.normal(0, spread, n)
        second = quality + rng.normal(0, self.chance, n)
        self._note("peer", released, second, first_severity, is_peer)
        self._note("automatic", released, second, np.full(n, AUTOMATIC_SEVERITY), is_staff)
        draw = rng.random(n)
        by_staff = is_peer & (draw < np.where(rows["score"] < POOR, AGAIN_IF_POOR, AGAIN_BY_STAFF))
        again = by_staff | (is_staff & (draw < AGAIN_BY_MACHINE))
        grader = np.where(by_staff, rng.integers(0, GRADERS, n), -1)
        severity = np.where(by_staff, self.graders[grader], AUTOMATIC_SEVERITY)
        later = np.where(by_staff, rows["released"] + rng.integers(DAY, 6 * DAY, n), rows["at"] + 60)
        marks = {
            "enrollment": rows["enrollment"],
            "item": rows["item"],
            "attempt": np.ones(n, np.int64),
            "at": later,
            "score": np.round(np.clip(second - severity, 0, 100), 1),
            "by": np.where(by_staff, STAFF, AUTOMATIC),
            "grader": grader,
        }
        return {name: column[again] for name, column in marks.items()}

    def _note(self, kind: str, at: np.ndarray, second: np.ndarray, severity: np.ndarray, which: np.ndarray) -> None:
        fewer = (np.clip(second, 0, 100) - np.clip(second - severity, 0, 100))[which]
        for half in np.unique(at[which]):
            inside = at[which] == half
            sums = self.sums.setdefault((kind, float(half)), np.zeros(2))
            sums += [fewer[inside].sum(), inside.sum()]

    def describe(self) -> dict[str, Any]:
        """What is planted: severities against staff by half-year, of which grades between 0 and 100 show a part."""
        by_kind: dict[str, Any] = {}
        for (kind, half), (fewer, count) in sorted(self.sums.items()):
            points = float(peer_severity(np.array(half))) if kind == "peer" else AUTOMATIC_SEVERITY
            by_kind.setdefault(kind, {})[f"{half:.1f}"] = {
                "severity": points,
                "points": round(float(fewer / count), 4),
                "hand_ins": int(count),
            }
        return {
            "kinds": by_kind,
            "graders": {grader_id(g): round(float(x), 4) for g, x in enumerate(self.graders)},
        }


def grader_id(number: int) -> str:
    """Id of a member of staff who marks again."""
    return f"G{number + 1:03d}"
