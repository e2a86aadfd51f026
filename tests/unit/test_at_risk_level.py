"""The level of a running term, by hand: who left against who was expected to, and how far that is believed."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from dagster_project.stats.risk.level import Level, fit_level, has_left
from dagster_project.stats.risk.rows import Columns

COLUMNS = Columns("offering", "learner")
BEFORE = Level({"9": -0.2, "2": 0.1}, {"algebra": 0.15}, term_sd=0.35, offering_sd=0.25)


def weeks(*numbers: int, learners: int = 400, left: int = 0, day: float = 24.0, **columns) -> pd.DataFrame:
    """Learners in weeks; the first ``left`` of them withdraw on a day of the offering, and have no row after it."""
    frame = pd.DataFrame(
        [(week, learner) for week in numbers for learner in range(learners)], columns=["week_number", "learner"]
    )
    frame["withdrawal_day"] = np.where(frame["learner"] < left, day, np.nan)
    names = {"term": "2024-09", "start_month": "9", "course_key": "algebra", "offering": "algebra 1"} | columns
    return frame.assign(**names)[~(frame["withdrawal_day"] < 7 * frame["week_number"])].reset_index(drop=True)


def test_whoever_withdraws_in_the_four_weeks_after_a_week_has_left():
    frame = pd.DataFrame({"week_number": [2, 2, 2, 2], "withdrawal_day": [41.0, 42.0, 14.0, np.nan]})
    assert has_left(frame, COLUMNS).tolist() == [1, 0, 1, 0]  # week 2 ends the window on day 42


def test_before_a_window_has_closed_a_term_is_one_of_its_season_and_course():
    frame = weeks(0, 5, left=300)  # the window of week 2 closes with week 6
    shift, sd = BEFORE.of(frame, np.full(len(frame), logit(0.05)), COLUMNS)
    assert shift == pytest.approx(-0.2 + 0.15)
    assert sd == pytest.approx(np.hypot(0.35, 0.25))


def test_more_leavers_than_expected_raise_everybody_in_part():
    """Week 6: of 400 in week 2 five in a hundred were expected to leave by then, and ten in a hundred did.

    Too low by logit(.10) - logit(.05) = .747; variance by chance 4 / (400 · .1 · .9) = .111, of windows .3² = .09, of
    terms .35² = .1225: weight .1225 / (.1225 + .09 + .1111) = .3786. The offering, at the term's level, is as expected.
    """
    frame = weeks(2, 6, left=40)
    shift, sd = BEFORE.of(frame, np.full(len(frame), logit(0.05)), COLUMNS)
    now = (frame["week_number"] == 6).to_numpy()
    weight = 0.1225 / (0.1225 + 0.09 + 4 / (400 * 0.1 * 0.9))
    assert shift[now] == pytest.approx(weight * (logit(0.10) - logit(0.05)) + (1 - weight) * -0.2 + 0.15)
    assert sd[now] == pytest.approx(np.sqrt((1 - weight) * 0.35**2 + weight * 0.15**2 + 0.25**2))
    assert shift[~now] == pytest.approx(-0.05)


def test_rows_that_are_asked_for_alone_get_what_they_get_among_all():
    frame = weeks(2, 3, 6, 7, left=40).sort_values("week_number", ascending=False, ignore_index=True)
    leaving = np.linspace(-4, -2, len(frame))
    asked = int((frame["week_number"] >= 6).sum())
    for all_rows, first in zip(
        BEFORE.of(frame, leaving, COLUMNS), BEFORE.of(frame, leaving, COLUMNS, asked), strict=True
    ):
        assert len(first) == asked
        np.testing.assert_array_equal(first, all_rows[:asked])


def test_the_first_fortnight_tells_nothing():
    """Half of them change their plans on day 5; after that nobody leaves but as expected."""
    expected = logit(0.05)
    without = weeks(0, 1, 2, 6, left=20)
    early = weeks(0, 1, 2, 6, left=400, day=5.0).assign(learner=lambda x: x["learner"] + 1000)
    having = pd.concat([without, early], ignore_index=True)
    shifts = [
        BEFORE.of(frame, np.full(len(frame), expected), COLUMNS)[0][(frame["week_number"] == 6).to_numpy()][0]
        for frame in (without, having)
    ]
    assert shifts[0] == pytest.approx(shifts[1])


def test_an_offering_of_its_own_is_believed_less_than_a_term():
    """Twenty in a hundred left one of two offerings, none of the other: ten in a hundred of the term, as expected.

    Of the first, logit(.20) - logit(.10) = .81 is held at four sds of offerings, .4, and believed by .1² against the
    variance by chance, 4 / (400 · .2 · .8). That nobody left tells of the other next to nothing.
    """
    frame = pd.concat([weeks(2, 6, left=80), weeks(2, 6, offering="algebra 2")], ignore_index=True)
    shift, _ = BEFORE.of(frame, np.full(len(frame), logit(0.10)), COLUMNS)
    now = (frame["week_number"] == 6).to_numpy()
    first, second = (shift[now & (frame["offering"] == name).to_numpy()][0] for name in ("algebra 1", "algebra 2"))
    assert first - second == pytest.approx(0.4 * 0.1**2 / (0.1**2 + 4 / (400 * 0.2 * 0.8)), abs=1e-3)


def test_a_planted_season_and_course_are_found_and_shrunk():
    rng = np.random.default_rng(0)
    parts = []
    for term, season, offset in (
        ("2022-02", "2", 0.4),
        ("2022-09", "9", -0.4),
        ("2023-02", "2", 0.4),
        ("2023-09", "9", -0.4),
    ):
        for course, own in (("algebra", 0.3), ("history", -0.3)):
            part = weeks(
                4, 8, learners=3000, term=term, start_month=season, course_key=course, offering=f"{course} {term}"
            )
            parts.append(part.assign(y=(rng.random(len(part)) < expit(-0.5 + offset + own)).astype(int)))
    frame = pd.concat(parts, ignore_index=True)
    found = fit_level(frame, np.full(len(frame), -0.5), frame["y"].to_numpy(float), COLUMNS)
    assert found.season == pytest.approx({"2": 0.4 * 2 / 3, "9": -0.4 * 2 / 3}, abs=0.03)
    assert found.course == pytest.approx({"algebra": 0.3 * 4 / 6, "history": -0.3 * 4 / 6}, abs=0.03)
    assert found.term_sd < 0.35
    assert found.offering_sd < 0.25


def test_of_one_cohort_nothing_is_known_but_what_cohorts_differ_by_elsewhere():
    frame = weeks(4, learners=100)
    y = (np.arange(100) < 40).astype(float)
    assert fit_level(frame, np.full(100, logit(0.4)), y, COLUMNS).term_sd == 0.35
