"""Nobody can work out what is hidden."""

import itertools

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.suppression import SharedMeans, suppress


def determined(size, margins, hidden):
    """Hidden cells that all margins, minus what is shown, fix to one value: by least squares, independently."""
    unknown = np.flatnonzero(hidden)
    rows = [np.ones(len(size))]
    for name in margins:
        rows += [(margins[name] == value).to_numpy(float) for value in margins[name].dropna().unique()]
    matrix = np.array(rows)[:, unknown]
    fixed = []
    for k, cell in enumerate(unknown):
        target = np.eye(len(unknown))[k]
        solution = np.linalg.lstsq(matrix.T, target, rcond=None)[0]
        if np.allclose(matrix.T @ solution, target, atol=1e-7):
            fixed.append(int(cell))
    return fixed


def test_a_small_group_alone_takes_the_next_smallest_with_it():
    reason = suppress([4, 30, 12, 50], pd.DataFrame({"industry": ["a", "a", "a", "b"]}))
    assert reason.tolist() == ["small", None, "complementary", None]


def test_two_small_groups_cover_each_other_if_together_they_are_large_enough():
    assert suppress([6, 5, 40, 60], pd.DataFrame({"industry": ["a"] * 4})).tolist() == ["small", "small", None, None]
    assert suppress([3, 4, 40, 60], pd.DataFrame({"industry": ["a"] * 4})).tolist() == [
        "small",
        "small",
        "complementary",
        None,
    ]


def test_nothing_is_hidden_without_a_small_group():
    assert suppress([10, 11, 12], pd.DataFrame({"industry": ["a", "b", None]})).isna().all()


def test_empty_groups_are_neither_shown_nor_protected():
    assert suppress([0, 20, 30], pd.DataFrame({"industry": ["a", "a", "a"]})).isna().all()


@pytest.mark.parametrize("seed", range(25))
def test_no_combination_of_margins_gives_a_hidden_group(seed):
    rng = np.random.default_rng(seed)
    cells = 30
    size = np.maximum(rng.poisson(rng.gamma(1.2, 25, cells)), 1)
    margins = pd.DataFrame(
        {"industry": rng.integers(0, 5, cells), "country": rng.integers(0, 4, cells), "band": rng.integers(0, 3, cells)}
    )
    hidden = suppress(size, margins).notna().to_numpy()
    assert (size[~hidden] >= 10).all()
    # Margins all of whose groups are hidden leave nothing to hide behind.
    covered = {
        int(cell)
        for name, value in itertools.chain.from_iterable(
            ((name, value) for value in margins[name].unique()) for name in margins
        )
        for cell in np.flatnonzero(margins[name] == value)
        if not hidden[margins[name] == value].all()
    }
    assert [cell for cell in determined(size, margins, hidden) if cell in covered] == []


def test_margins_that_cross_do_not_reveal_a_group_that_each_of_them_hides():
    # The hidden cells of a 2 × 2 square with all margins known have one degree of freedom; three of them have none.
    margins = pd.DataFrame({"industry": list("aabbcc"), "country": list("xyxyxy")})
    reason = suppress([4, 20, 30, 5, 40, 50], margins)
    assert determined([4, 20, 30, 5, 40, 50], margins, reason.notna().to_numpy()) == []


def told_means(samples, outcomes, minimum: int = 10) -> list[float]:
    """Means of samples, given as row numbers, that take their rows in two batches."""
    member = np.array([np.isin(np.arange(len(outcomes)), sample) for sample in samples])
    means = SharedMeans(len(samples), minimum)
    for part in (slice(0, 150), slice(150, None)):
        means.add(member[:, part], outcomes[part])
    return means.means().tolist()


def test_means_of_samples_that_nearly_agree_are_one_and_tell_nothing_of_the_few_between():
    outcomes = (np.random.default_rng(3).random(400) < 0.7).astype(float)
    sizes = (400, 399, 392, 385, 300, 299)
    told = told_means([np.arange(size) for size in sizes], outcomes)
    assert told == [outcomes[:size].mean() for size in (400, 400, 400, 385, 300, 300)]
    assert told_means([np.arange(size) for size in reversed(sizes)], outcomes) == told[::-1]


def test_samples_of_one_size_with_other_people_have_their_own_means():
    # The first and the last 200 of 400: as many people, none of them the same, .25 and .75 of whom stayed.
    outcomes = np.r_[np.tile([1.0, 0, 0, 0], 50), np.tile([1.0, 1, 1, 0], 50)]
    assert told_means([np.arange(200), np.arange(200, 400)], outcomes) == [0.25, 0.75]
    # Six leave and six others come: twelve people tell the two apart, and each has its own mean.
    moved = np.arange(6, 206)
    assert told_means([np.arange(200), moved], outcomes) == [0.25, outcomes[moved].mean()]
    # Four and four: eight people would be told of, so that there is one mean.
    assert told_means([np.arange(200), np.arange(4, 204)], outcomes) == [0.25, 0.25]


def test_a_sample_without_rows_has_no_mean():
    told = told_means([np.arange(50), []], np.ones(400))
    assert told[0] == 1
    assert np.isnan(told[1])
