"""Severities of graders on simulated marks: bias and coverage, whichever way second marks are chosen.

Run as a script, it prints its table.
"""

import numpy as np
import pytest

from dagster_project.stats.item_response.facets import agreement, fit_facets

REPETITIONS = 100
SEVERITY, DRIFT = -1.0, 0.4  # logits in the middle of the four half-years, and a half-year


def simulate(seed: int, *, selective: bool) -> dict[str, np.ndarray]:
    """600 learners at 12 of 40 essays, in tenths; peers mark half of them, staff mark some of those again.

    Selective: 60 % of the poor ones and 10 % of the others; else a quarter, by lot.
    """
    rng = np.random.default_rng(seed)
    learner = np.repeat(np.arange(600), 12)
    item = np.concatenate([rng.choice(40, 12, replace=False) for _ in range(600)])
    quality = rng.normal(0, 0.8, 600)[learner] + rng.normal(0, 1.2, len(learner)) - rng.normal(-1, 1, 40)[item]
    period = rng.integers(0, 4, len(learner))
    steps = np.concatenate([[0], np.cumsum(np.linspace(-6, 6, 10))])

    def mark(which: np.ndarray, is_peer: np.ndarray) -> np.ndarray:
        severity = is_peer * (SEVERITY + DRIFT * (period[which] - 1.5))
        value = np.arange(11) * (quality[which] - severity)[:, None] - steps
        return (value + rng.gumbel(size=value.shape)).argmax(axis=1)

    everyone, by_peer = np.arange(len(learner)), item >= 20
    first = mark(everyone, by_peer)
    chance = np.where(first <= 4, 0.6, 0.1) if selective else np.full(len(learner), 0.25)
    again = np.flatnonzero(by_peer & (rng.random(len(learner)) < chance))
    which = np.concatenate([everyone, again])
    is_peer = np.concatenate([by_peer, np.zeros(len(again), bool)])
    return {
        "learner": learner[which],
        "hand_in": which,
        "item": item[which],
        "group": by_peer[which],
        "kind": np.where(is_peer, "peer", "staff"),
        "share": np.concatenate([first, mark(again, np.zeros(len(again), bool))]) / 10,
        "period": 2022 + period[which] / 2,
    }


def recover(selective: bool, repetitions: int = REPETITIONS) -> dict[str, float]:
    """Mean and coverage of the severity of peers, whole and by half-year; the mean difference of two marks beside."""
    whole, halves, naive = [], [], []
    for seed in range(repetitions):
        marks = simulate(seed, selective=selective)
        fit = fit_facets(**marks, reference="staff")
        rows = fit.severities[fit.severities["kind"] == "peer"]
        row = rows[rows["period"].isna()].iloc[0]
        whole.append([row["severity"], row["std_error"], row["points"], row["points_error"]])
        half = rows[rows["period"].notna()]
        planted = SEVERITY + DRIFT * (2 * (half["period"] - 2022) - 1.5)
        halves += ((half["severity"] - planted) / half["std_error"]).tolist()
        named = {name: marks[name] for name in ("hand_in", "item", "learner", "kind", "share")}
        naive.append(-agreement(**named)["mean_difference"].iloc[0])
    severity, error, points, points_error = np.array(whole).T
    return {
        "severity": severity.mean(),
        "points": points.mean(),
        "by the mean difference": float(np.mean(naive)),
        "sd over stated error": severity.std() / error.mean(),
        "sd over stated error, points": points.std() / points_error.mean(),
        "coverage": float(np.mean(np.abs(severity - SEVERITY) < 1.96 * error)),
        "coverage by half-year": float(np.mean(np.abs(halves) < 1.96)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("selective", [False, True])
def test_severities_are_unbiased_and_their_intervals_hold(selective):
    found = recover(selective)
    assert found["severity"] == pytest.approx(SEVERITY, abs=0.03)
    assert 0.88 <= found["coverage"] <= 0.99
    assert 0.92 <= found["coverage by half-year"] <= 0.98
    # Some 7.3 points; of hand-ins that were chosen for a poor mark the second one is better by chance.
    assert found["points"] == pytest.approx(-7.3, abs=0.4)
    assert (abs(found["by the mean difference"] + 7.3) > 2) == selective


if __name__ == "__main__":
    for chosen in (False, True):
        print("second marks of poor work" if chosen else "second marks by lot")
        for name, value in recover(chosen).items():
            print(f"    {name:32} {value:.3f}")
