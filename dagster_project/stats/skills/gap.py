"""Which courses would help an organization in a skill where it stands below the middle of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MIDDLE = 50.0
EASIEST, HARDEST = 0.85, 0.40  # share of a course's points that learners of the organization's mean would get
MOST_TAKEN = 0.5  # of those who may take it
FEWEST_ADMITTED = 10
COURSES = 3
FROM_COURSE = ("course", "gain_low", "gain_high", "expected_score_share", "admitted_share", "not_taken_share")
COLUMNS = [
    "organization", "rank", "members_percentile", "band", "course", "expected_gain", "gain_low", "gain_high",
    "expected_score_share", "admitted_share", "not_taken_share", "reason",
]  # fmt: skip


def expected_score_shares(items: pd.DataFrame, ability) -> pd.DataFrame:
    """Share of the points of each course's questions that learners of some ability would get.

    Args:
        items: frame: course, slope, intercept_1 …
        ability: array of shape (k,)

    Returns:
        frame of shape (courses, k), indexed by course
    """
    import pandas as pd

    steps = items.filter(regex=r"^intercept_\d+$").to_numpy(float)
    logit = items["slope"].to_numpy(float)[:, None, None] * np.asarray(ability, float) + steps[:, :, None]
    with np.errstate(over="ignore"):
        reached = 1.0 / (1.0 + np.exp(-logit))
    share = np.nansum(reached, axis=1) / np.isfinite(steps).sum(axis=1)[:, None]
    return pd.DataFrame(share).groupby(items["course"].to_numpy()).mean()


def recommend(
    benchmarks: pd.DataFrame,
    items: pd.DataFrame,
    gains: pd.DataFrame,
    completed: pd.DataFrame,
    admitted: pd.DataFrame,
) -> pd.DataFrame:
    """Courses for every organization whose members stand below the middle of all.

    A course is recommended when it teaches the skill with a gain that is estimated and not shown to be negative, when
    learners of the organization's mean would now get 40 to 85 % of its points, and when most of the members who can
    take it have not completed it. A course of a degree can be taken by those whom its program admitted; fewer than ten
    are no recommendation to the organization. Ranked by shrunken gain × share of all members who can take it and have
    not completed it.

    Args:
        benchmarks (frame: organization, mean_ability, members_percentile, band, member_count): shown rows of one skill
            against all organizations.
        items (frame: course, slope, intercept_1 …): questions on the skill's scale.
        gains (frame: course, is_open, gain, gain_low, gain_high, shrunken_gain): ``is_open``: everybody may take the
            course.
        completed, admitted (frames: organization, course, members): members who have completed a course, and who may
            take one that is not open.

    Returns:
        frame: organization, rank, members_percentile, band, course, expected_gain, gain_low, gain_high,
        expected_score_share, admitted_share, not_taken_share, reason. At most three courses an organization; one row
        without a course, with the reason, where none suits.
    """
    import pandas as pd

    low = benchmarks[benchmarks["members_percentile"] < MIDDLE].reset_index(drop=True)
    if low.empty:
        return pd.DataFrame(columns=COLUMNS)
    known = gains[gains["shrunken_gain"].notna() & (gains["gain_high"] > 0)]
    share = expected_score_shares(items, low["mean_ability"]) if len(items) else pd.DataFrame()
    taken, may = (frame.set_index(["organization", "course"])["members"] for frame in (completed, admitted))
    rows = []
    for k, organization in low.iterrows():
        one = known[known["course"].isin(share.index)].copy()
        one["expected_score_share"] = one["course"].map(share[k]).astype(float) if len(share) else np.nan
        size, key = organization["member_count"], organization["organization"]
        done, can = (
            one["course"].map(counts.get(key, pd.Series(dtype=float))).astype(float).fillna(0.0)
            for counts in (taken, may)
        )
        can = can.where(~one["is_open"], size).clip(upper=size)
        one["admitted_share"] = can / size
        one["not_taken_share"] = (can - done).clip(lower=0.0) / size
        suits = one["expected_score_share"].between(HARDEST, EASIEST) & (done < MOST_TAKEN * can)
        suits &= one["is_open"] | (can >= FEWEST_ADMITTED)
        one = one[suits].assign(value=one["shrunken_gain"] * one["not_taken_share"])
        one = one[one["value"] > 0].sort_values(["value", "course"], ascending=[False, True]).head(COURSES)
        about = {name: organization[name] for name in ("organization", "members_percentile", "band")}
        if one.empty:
            reason = (
                "no course with a known gain"
                if known.empty
                else "no course that the members may take suits their ability, or most have completed it"
            )
            rows.append(about | {"rank": 1, "reason": reason})
        for rank, (_, course) in enumerate(one.iterrows(), start=1):
            rows.append(
                about
                | {"rank": rank, "expected_gain": course["shrunken_gain"]}
                | {name: course[name] for name in FROM_COURSE}
            )
    return pd.DataFrame(rows).reindex(columns=COLUMNS)
