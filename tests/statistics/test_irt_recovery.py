"""Planted item parameters and abilities come back at 20,000 learners × 200 questions, and intervals cover them.

python -m pytest -m slow -s tests/statistics/test_irt_recovery.py
"""

import numpy as np
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.quadrature import QuadratureError
from dagster_project.stats.item_response.scoring import score
from tests.item_simulation import simulate

POPULATIONS = 8


def population(seed):
    rng = np.random.default_rng(seed)
    return simulate(rng, rng.standard_normal(20_000), 200)


def recovery(data):
    bank = calibrate(*data.long)
    assert bank.converged
    scores, table = score(bank, *data.long), bank.difficulties()
    slope, difficulty = bank.items["slope"] - data.slope, table["difficulty"] - data.difficulty
    return (
        np.sqrt((slope**2).mean()),
        np.sqrt((difficulty**2).mean()),
        (np.abs(scores["ability"] - data.ability) < 1.96 * scores["std_error"]).mean(),
        (np.abs(slope) < 1.96 * bank.items["slope_se"]).mean(),
        (np.abs(difficulty) < 1.96 * table["difficulty_se"]).mean(),
    )


@pytest.mark.slow
def test_recovery_at_20k_by_200():
    runs = np.array([recovery(population(seed)) for seed in range(POPULATIONS)])
    print("\n| slope RMSE | difficulty RMSE | ability coverage | slope coverage | difficulty coverage |")
    print("|---|---|---|---|---|")
    for run in [*runs, runs.mean(axis=0)]:
        print("| " + " | ".join(f"{value:.4f}" for value in run) + " |")
    slope, difficulty, *covered = runs.mean(axis=0)
    assert slope <= 0.025
    assert difficulty <= 0.027
    assert 0.945 <= covered[0] <= 0.955
    # Items of one population share the error of its scale: the share covered varies much between populations.
    assert 0.92 <= np.mean(covered[1:]) <= 0.98


@pytest.mark.slow
def test_31_nodes_are_refused_for_200_questions():
    with pytest.raises(QuadratureError, match="nodes=31 is too coarse"):
        calibrate(*population(0).long, nodes=31)
