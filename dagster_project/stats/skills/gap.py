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
    courses = known[known["course"].isin(share.index)]
    pairs = low[["organization", "member_count"]].reset_index(names="place").merge(courses, how="cross")
    pairs["expected_score_share"] = share.reindex(courses["course"]).to_numpy(float).T.ravel()
    key = pd.MultiIndex.from_frame(pairs[["organization", "course"]])
    done, may = (
        frame.set_index(["organization", "course"])["members"].reindex(key).fillna(0.0).to_numpy(float)
        for frame in (completed, admitted)
    )
    is_open, size = pairs["is_open"].to_numpy(bool), pairs["member_count"].to_numpy(float)
    can = np.minimum(np.where(is_open, size, may), size)
    pairs["admitted_share"] = can / size
    pairs["not_taken_share"] = np.maximum(can - done, 0.0) / size
    pairs["value"] = pairs["shrunken_gain"] * pairs["not_taken_share"]
    suits = pairs["expected_score_share"].between(HARDEST, EASIEST) & (done < MOST_TAKEN * can)
    suits &= (is_open | (can >= FEWEST_ADMITTED)) & (pairs["value"] > 0)
    best = pairs[suits].sort_values(["place", "value", "course"], ascending=[True, False, True])
    best = best.groupby("place").head(COURSES)
    best["rank"] = best.groupby("place").cumcount() + 1
    best = best.rename(columns={"shrunken_gain": "expected_gain"})[["place", "rank", "expected_gain", *FROM_COURSE]]
    about = low[["organization", "members_percentile", "band"]].reset_index(names="place")
    rows = about.merge(best, on="place", how="left")
    without = rows["rank"].isna()
    rows["rank"] = rows["rank"].fillna(1).astype(int)
    rows["reason"] = None
    rows.loc[without, "reason"] = (
        "no course with a known gain"
        if known.empty
        else "no course that the members may take suits their ability, or most have completed it"
    )
    return rows.reindex(columns=COLUMNS)
