"""A new term, calibrated anew and linked, measures on the old scale.

    python -m pytest -m slow -s tests/statistics/test_irt_relinking.py       # prints the table

100 replications: a bank of 60 questions from 4,000 learners; in the new term 50 of them and 10 new ones are answered by
2,000 other, abler and more alike learners, half of the questions each (1,000 answers an anchor). The true link follows
from the planted abilities of both terms.
"""

from dataclasses import replace

import numpy as np
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.linking import link
from dagster_project.stats.item_response.scoring import score
from tests.item_simulation import simulate

REPLICATIONS, ANCHORS, OWN = 100, 50, 10


def relink(seed, *, moved=0, answered=0.5):
    """The link, its errors of scale and shift, and the rank correlation of the same answers on both banks."""
    rng = np.random.default_rng(seed)
    items = ANCHORS + 2 * OWN
    position = np.arange(items)
    before, after = rng.standard_normal(4000), 0.3 + 0.9 * rng.standard_normal(2000)
    old = simulate(rng, before, items, observed=np.broadcast_to(position < ANCHORS + OWN, (4000, items)))
    in_term = (position < ANCHORS) | (position >= ANCHORS + OWN)
    step = old.step - np.where(position < moved, 0.8, 0.0)[:, None]
    observed = in_term & (rng.random((2000, items)) < answered)
    new = simulate(rng, after, items, observed=observed, slope=old.slope, step=step)
    bank = calibrate(*old.long)
    result = link(calibrate(*new.long), bank)
    anchor = new.item < ANCHORS
    shared = [column[anchor] for column in new.long]
    # The same prior on both banks, so that only the items differ.
    on_new = score(replace(result.bank, groups=bank.groups), *shared)["ability"]
    on_old = score(bank, *shared)["ability"]
    scale, shift = after.std() / before.std(), (after.mean() - before.mean()) / before.std()
    return result, result.scale - scale, result.shift - shift, on_new.corr(on_old, method="spearman")


@pytest.mark.slow
def test_relinking_error_is_below_two_hundredths_of_an_sd():
    runs = [relink(seed) for seed in range(REPLICATIONS)]
    scale, shift = (np.array([run[k] for run in runs]) for k in (1, 2))
    said = np.mean([[run[0].scale_se, run[0].shift_se] for run in runs], axis=0)
    print("\n| | RMSE | mean jackknife error |\n|---|---|---|")
    print(f"| scale | {np.sqrt((scale**2).mean()):.4f} | {said[0]:.4f} |")
    print(f"| shift (sds of ability) | {np.sqrt((shift**2).mean()):.4f} | {said[1]:.4f} |")
    assert np.sqrt((shift**2).mean()) <= 0.02
    assert np.sqrt((scale**2).mean()) <= 0.02


@pytest.mark.slow
def test_the_same_answers_rank_learners_alike_on_both_banks():
    ranks = {answered: [relink(seed, answered=answered)[3] for seed in range(15)] for answered in (0.5, 1.0)}
    print("\n| answers of an anchor | of a learner | rank correlation, mean | smallest |\n|---|---|---|---|")
    for answered, rank in ranks.items():
        print(f"| {2000 * answered:.0f} | {ANCHORS * answered:.0f} | {np.mean(rank):.5f} | {np.min(rank):.5f} |")
    assert np.min(ranks[1.0]) >= 0.999
    assert np.min(ranks[0.5]) >= 0.998


@pytest.mark.slow
def test_moved_anchors_are_removed_and_do_not_move_the_scale():
    runs = [relink(seed, moved=4) for seed in range(20)]
    found = np.mean([(~run[0].anchors["is_used"][:4]).mean() for run in runs])
    assert found > 0.95
    assert np.sqrt(np.mean([run[2] ** 2 for run in runs])) <= 0.025
