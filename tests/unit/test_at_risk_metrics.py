"""Metrics of risk scores against scikit-learn, their intervals, subgroups and the ranking report."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dagster_project.stats.risk import metrics as risk_metrics


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    probability = np.round(rng.random(2000), 2)
    return probability, (rng.random(2000) < probability).astype(int)


def test_metrics_with_ties_by_hand():
    # Of four pairs three are in order and one is tied. The tied rows are called together: two of three are right.
    found = risk_metrics.measure([0.9, 0.8, 0.8, 0.3], [1, 0, 1, 0])
    assert found["auc"] == pytest.approx(3.5 / 4)
    assert found["auprc"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.04 + 0.09) / 4)
    assert (found["n"], found["n_positive"]) == (4, 2)


def test_the_foretold_auc_is_the_mean_of_those_that_come(scored):
    probability, _ = scored
    rng = np.random.default_rng(3)
    drawn = [risk_metrics.auc(probability, rng.random(len(probability)) < probability) for _ in range(200)]
    assert risk_metrics.foretold_auc(probability) == pytest.approx(np.mean(drawn), abs=3 * np.std(drawn) / np.sqrt(200))
    assert risk_metrics.auc_error(np.mean(drawn), probability.sum(), (1 - probability).sum()) == pytest.approx(
        np.std(drawn), rel=0.2
    )
    assert risk_metrics.foretold_auc([0.3]) != risk_metrics.foretold_auc([0.3])
    assert risk_metrics.foretold_auc([0.2, 0.2, 0.2]) == pytest.approx(0.5)


def test_one_outcome_alone_has_no_auc():
    assert np.isnan(risk_metrics.auc([0.1, 0.2], [0, 0]))
    assert np.isnan(risk_metrics.auc([0.1, 0.2], [1, 1]))
    assert np.isnan(risk_metrics.auprc([0.1, 0.2], [0, 0]))
    assert risk_metrics.auprc([0.1, 0.2], [1, 1]) == 1
    assert risk_metrics.brier([0.1, 0.2], [0, 0]) == pytest.approx((0.01 + 0.04) / 2)
    assert risk_metrics.brier([0.1, 0.2], [1, 1]) == pytest.approx((0.81 + 0.64) / 2)


def test_drawn_aucs_are_those_of_scikit_learn_on_the_same_draws(scored):
    """Oracle: roc_auc_score with the times that a learner was drawn as weights."""
    probability, outcome = (x[:300] for x in scored)
    learner = np.random.default_rng(1).integers(0, 80, 300)
    found = risk_metrics.bootstrap_auc({"a": probability, "b": 1 - probability}, outcome, learner, draws=20, seed=5)
    codes = np.unique(learner, return_inverse=True)[1]
    rng = np.random.default_rng(5)
    for place in range(20):
        times = np.bincount(rng.integers(0, codes.max() + 1, codes.max() + 1), minlength=codes.max() + 1)[codes]
        expected = roc_auc_score(outcome, probability, sample_weight=times)
        assert found["a"][place] == pytest.approx(expected, abs=1e-12)
        assert found["b"][place] == pytest.approx(1 - expected, abs=1e-12)


def test_intervals_widen_when_learners_repeat(scored):
    """Each learner four times: as much evidence as once, so the interval is that of 500 rows, not of 2,000."""
    probability, outcome = (np.repeat(x[:500], 4) for x in scored)
    rows, learners = (
        risk_metrics.interval_of(risk_metrics.bootstrap_auc({"x": probability}, outcome, who, draws=200)["x"])
        for who in (np.arange(2000), np.arange(2000) // 4)
    )
    assert np.ptp(learners) == pytest.approx(2 * np.ptp(rows), rel=0.25)
    assert learners[0] < risk_metrics.auc(probability, outcome) < learners[1]


def test_draws_take_all_rows_of_a_learner_whatever_their_order(scored):
    probability, outcome = scored
    learner = np.random.default_rng(1).integers(0, 300, 2000)
    order = np.random.default_rng(2).permutation(2000)
    first = risk_metrics.bootstrap_auc({"x": probability}, outcome, learner, draws=50)["x"]
    second = risk_metrics.bootstrap_auc({"x": probability[order]}, outcome[order], learner[order], draws=50)["x"]
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_groups_that_their_interval_holds_by_hand():
    # 400 learners, two groups: .1 of the lower came, which [.05, .12] holds; .9 of the upper, which [.4, .6] does not,
    # by more than 1.96 · √(.9 · .1 / 200) = .042.
    rows = pd.DataFrame({"probability": np.r_[np.full(200, 0.1), np.full(200, 0.5)]})
    rows["outcome"] = np.r_[np.arange(200) < 20, np.arange(200) < 180].astype(int)
    rows["low"], rows["high"] = rows["probability"] - 0.1, rows["probability"] + 0.1
    assert risk_metrics.held_groups(rows) == (1, 2)
    assert risk_metrics.held_groups(rows.head(150)) == (0, 0)


def test_small_groups_get_no_figures_and_missed_learners_are_counted(scored):
    probability, outcome = scored
    rows = pd.DataFrame({"probability": probability, "outcome": outcome, "gender": "female"})
    rows.loc[:9, "gender"] = "other"
    rows["is_called"] = rows["probability"] >= 0.5
    table = risk_metrics.subgroup_table(rows, ["gender"]).set_index("value")
    assert np.isnan(table.loc["other", "auc"])
    assert table.loc["other", "n"] == 10
    female = rows[rows["gender"] == "female"]
    missed = ((female["probability"] < 0.5) & (female["outcome"] == 1)).sum() / female["outcome"].sum()
    assert table.loc["female", "false_negative_rate"] == pytest.approx(missed)
    assert table.loc["female", "false_negative_low"] < missed < table.loc["female", "false_negative_high"]
    rows.loc[9, "gender"] = "female"
    table = risk_metrics.subgroup_table(rows, ["gender"]).set_index("value")
    assert table["base_rate"].isna().all(), "the nine follow from all learners less the others"
    assert table["n"].isna().all()
    table = risk_metrics.subgroup_table(rows, ["gender"], minimum=9).set_index("value")
    assert table.loc["other", "n"] == 9


def test_wilson_interval_by_hand():
    # (share + z²/2n ± z √(share (1 - share)/n + z²/4n²)) / (1 + z²/n) for 3 of 10, z = 1.959964
    assert risk_metrics.wilson_interval(3, 10) == pytest.approx((0.107791, 0.603222), abs=1e-6)
    assert np.isnan(risk_metrics.wilson_interval(0, 0)).all()


def test_ranking_report_by_hand():
    # Two weeks, ten learners; a leaves on day 10. The list of 10 % has one place: a in week 1, b in week 2.
    rows = pd.DataFrame(
        {
            "enrollment": list("abcdefghij") * 2,
            "week": [1] * 10 + [2] * 10,
            "place": [1, 2, *range(3, 11), 2, 1, *range(3, 11)],
            "size": 10,
            "outcome": [1, 0, 1, *[0] * 7] * 2,
            "withdrawal_day": [10.0, *[np.nan] * 9] * 2,
        }
    )
    report = risk_metrics.ranking_report(rows, [0.1]).iloc[0]
    assert report["precision"] == 0.5
    assert report["recall"] == 0.25
    assert report["lift"] == pytest.approx((1 / 0.2 + 0 / 0.2) / 2)
    assert report["median_days_to_withdrawal"] == 3
    assert report["weekly_turnover"] == 1.0


def test_figures_of_the_called_by_hand():
    # Two cohorts of 50: a tenth is five of each. All five of the first come and two of the second; 20 of 100 come.
    place = np.tile(np.arange(1, 51), 2)
    outcome = np.r_[place[:50] <= 12, np.isin(place[50:], [1, 4, *range(10, 16)])].astype(int)
    rows = pd.DataFrame({"place": place, "size": 50, "outcome": outcome})
    found = risk_metrics.called_figures(rows, 0.1)
    assert found == pytest.approx(
        {"n_called": 10, "called_precision": 0.7, "called_recall": 7 / 20, "called_lift": 0.7 / 0.2}
    )
    assert np.isnan(list(risk_metrics.called_figures(rows, 0.05).values())).all()  # six: figures of persons


@pytest.mark.parametrize("trials", range(1, 60))
def test_wilson_interval_of_none_and_of_all_lies_within_0_and_1(trials):
    low, high = risk_metrics.wilson_interval(0, trials)[0], risk_metrics.wilson_interval(trials, trials)[1]
    assert 0 <= low == pytest.approx(0, abs=1e-12)
    assert 1 >= high == pytest.approx(1, abs=1e-12)
