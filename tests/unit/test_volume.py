"""Whether the last week brought as many rows as weeks do: a made source with terms, breaks, chance and faults."""

import numpy as np
import pytest

from dagster_project.stats.volume import judge_volume

TERM, BREAK = 1000, 40


def history(weeks, *, seed=1, size=1.0, breaks=((15, 18), (37, 50))):
    """Rows a day: by chance around one level in term and another in the breaks of each year, and an incomplete day."""
    level = [BREAK if any(first <= week % 52 < last for first, last in breaks) else TERM for week in range(weeks)]
    shape = np.array([1.3, 1.2, 1.1, 1.1, 1.0, 0.6, 0.7])
    days = np.outer(level, shape).ravel() * size
    return np.append(np.random.default_rng(seed).poisson(days), 3)


def ended_at(days, week):
    return days[: week * 7 + 1]


def test_weeks_like_those_before_are_usual():
    days = history(14)
    assert [judge_volume(ended_at(days, week)).why_unusual for week in range(5, 15)] == [""] * 10


@pytest.mark.parametrize(("factor", "is_unusual"), [(0.3, True), (0.7, False), (1.5, False), (3.0, True)])
def test_a_week_far_from_the_median_is_unusual_in_either_direction(factor, is_unusual):
    days = history(14)
    days[-8:-1] = days[-8:-1] * factor
    assert bool(judge_volume(days).why_unusual) == is_unusual


def test_breaks_and_their_ends_warn_in_the_first_year_and_never_again():
    days = history(52 * 4)
    unusual = [week for week in range(5, 52 * 4 + 1) if judge_volume(ended_at(days, week)).why_unusual]
    assert unusual[0] == 16
    assert unusual[-1] < 52 + 15  # the second year's first break


def test_an_outage_is_told_from_a_break_of_last_year_at_another_time():
    days = history(52 * 2 + 30)
    days[-8:-1] = days[-8:-1] * 0.2
    assert "1," in judge_volume(days).why_unusual


@pytest.mark.parametrize("seed", range(5))
def test_a_small_source_does_not_warn_by_chance(seed):
    days = history(60, seed=seed, size=0.001, breaks=())
    assert [week for week in range(5, 61) if judge_volume(ended_at(days, week)).why_unusual] == []


def test_a_missing_day_is_found_though_its_week_is_not_half_empty():
    days = history(14)
    days[-4] = 0
    found = judge_volume(days)
    assert (found.why_unusual, len(found.empty_days)) == ("no row on 1 of seven days that always have some", 1)


def test_the_newest_day_is_left_out_since_it_may_be_incomplete():
    days = history(14)
    days[-1] = 0
    assert not judge_volume(days).why_unusual


@pytest.mark.parametrize("days", [0, 1, 6, 8, 30])
def test_a_new_source_is_not_judged(days):
    found = judge_volume(np.full(days, 100))
    assert "new source" in found.why_not_judged
    assert found.why_unusual == ""
