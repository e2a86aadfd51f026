"""Each check of the at-risk scores fails where its claim is false; files of models that changed are refused."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from dagster_project.defs.at_risk import checks
from dagster_project.defs.at_risk.registry import champion_of, load_scorer, pinned_version, save_scorer
from dagster_project.settings import Settings
from dagster_project.stats.at_risk import Feature
from dagster_project.stats.drift import drift_table
from dagster_project.stats.risk_training import Columns, fit_scorer

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
SUBJECT = "campus/not_retained"


def backtest(auc: float = 0.7, error: float = 0.03) -> pd.DataFrame:
    rows = pd.DataFrame({"model": ["lightgbm", "seven_day_rule"], "auc": [auc, 0.6], "is_champion": [True, False]})
    rows = rows.assign(calibration_error=error, calibration_error_by_chance=0.02, split="2024-09", week_number=4)
    return rows.assign(source="campus", outcome="not_retained")


def test_a_champion_below_the_rule_blocks_training_and_only_warns_daily():
    assert checks.beats_the_rule(backtest(0.7), [SUBJECT]).passed
    at_training, daily = (checks.beats_the_rule(backtest(0.55), trained) for trained in ([SUBJECT], []))
    assert (at_training.passed, at_training.severity) == (False, ERROR)
    assert (daily.passed, daily.severity) == (False, WARN)


def test_wrong_probabilities_block_training():
    assert checks.is_calibrated(backtest(error=0.05), [SUBJECT]).passed
    found = checks.is_calibrated(backtest(error=0.20), [SUBJECT])
    assert (found.passed, found.severity) == (False, ERROR)


def test_a_leaking_feature_blocks():
    assert checks.does_not_look_ahead({SUBJECT: []}).passed
    found = checks.does_not_look_ahead({SUBJECT: ["last_score_share"]})
    assert (found.passed, found.severity) == (False, ERROR)


@pytest.mark.parametrize("keys", [["a"], ["a", "b", "b"]])
def test_a_learner_left_out_or_scored_twice_blocks(keys):
    scores = pd.DataFrame({"enrollment_key": ["a", "b"]}).assign(source="campus", outcome="not_retained")
    assert checks.every_learner_once({SUBJECT: 2}, scores).passed
    wrong = pd.DataFrame({"enrollment_key": keys}).assign(source="campus", outcome="not_retained")
    found = checks.every_learner_once({SUBJECT: 2}, wrong)
    assert (found.passed, found.severity) == (False, ERROR)


def test_contributions_that_do_not_add_up_block():
    assert checks.adds_up({SUBJECT: 1e-14}).passed
    for gap in (1e-6, float("nan")):
        assert checks.adds_up({SUBJECT: gap}).severity == ERROR


def test_a_shifted_cohort_fails_the_drift_check_and_blocks_a_new_model():
    rng = np.random.default_rng(0)
    then = pd.DataFrame({"score": rng.normal(size=2000)})
    for shift, passed in ((0.0, True), (1.0, False)):
        now = pd.DataFrame({"score": rng.normal(shift, 1, 1000)})
        table = drift_table(then, now, ["score"]).assign(source="campus", outcome="not_retained")
        assert checks.has_not_drifted(table, []).passed is passed
        assert checks.has_not_drifted(table, [SUBJECT]).severity == (WARN if passed else ERROR)


def test_the_newest_champion_scores_unless_a_version_is_pinned(settings, monkeypatch):
    registry = pd.DataFrame(
        {
            "model_version": ["old", "new", "challenger"],
            "trained_at": pd.to_datetime(["2025-01-01", "2025-02-01", "2025-03-01"]),
            "is_champion": [True, True, False],
            "file": ["old", "new", "challenger"],
        }
    ).assign(source="campus", outcome="not_retained")
    assert champion_of(registry, "campus", "not_retained")["model_version"] == "new"
    assert champion_of(registry, "oulad", "not_retained") is None
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_PINNED_MODELS", "other, old")
    pinned = pinned_version(Settings(), registry, "campus", "not_retained")
    assert champion_of(registry, "campus", "not_retained", pinned)["model_version"] == "old"


def test_a_model_whose_file_was_changed_is_refused(settings):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"click_count": rng.poisson(10, 400), "week_number": 3, "offering": rng.choice(["a", "b"], 400)}
    )
    rows = rows.assign(learner_key=np.arange(400), left_share=0.1, start_month="9")
    rows["y"] = (rng.random(400) < 1 / rows["click_count"].clip(lower=2)).astype(int)
    features = [Feature("click_count", "study_time", direction=-1)]
    scorer = fit_scorer(rows, "y", features, Columns("offering", "learner_key"), settings={"rounds": 5})
    save_scorer(settings, scorer)
    pd.testing.assert_frame_equal(load_scorer(settings, scorer.version).score(rows), scorer.score(rows))
    file = settings.models_dir / f"{scorer.version}.json"
    file.write_text(file.read_text().replace('"slope": ', '"slope": 1'))
    with pytest.raises(ValueError, match="have changed"):
        load_scorer(settings, scorer.version)
