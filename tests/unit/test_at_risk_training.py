"""The scorer end to end on made cohorts: calibrated, bracketed, explained, the same again from its files."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dagster_project.stats.risk.backtest import (
    Split,
    backtest,
    leaking_features,
    splits,
    stability,
)
from dagster_project.stats.risk.calibration import calibration_error
from dagster_project.stats.risk.models import Feature
from dagster_project.stats.risk.training import Columns, EarlyOutcomes, RiskScorer, fit_scorer

COLUMNS = Columns("offering", "learner_key")
FEATURES = (
    Feature("week_number", "term"),
    Feature("click_count", "study_time", "rank", -1),
    Feature("since_last_activity_days", "recent_activity", direction=1),
    Feature("score", "scores", direction=-1),
    Feature("education", "background", "category"),
)
FEW_TREES = {"rounds": 40}
ACTIONABLE = ("study_time", "recent_activity", "scores")


def made_cohorts(seed: int, offerings: int = 6, learners: int = 150, shift: float = 0.0) -> pd.DataFrame:
    """Weeks 0, 4, 8 of learners whose risk shows in what they do; cohorts differ a little."""
    rng = np.random.default_rng(seed)
    parts = []
    for offering in range(offerings):
        risk = rng.normal(0, 1.3, learners)
        y = rng.random(learners) < expit(risk + rng.normal(0, 0.1) + shift)
        for week in (0, 4, 8):
            parts.append(
                pd.DataFrame(
                    {
                        "offering": f"{seed}-{offering}",
                        "learner_key": [f"{seed}-{offering}-{i}" for i in range(learners)],
                        "week_number": week,
                        "left_share": 0.02 * week + 0.05,
                        "start_month": "9" if offering % 2 else "2",
                        "click_count": rng.poisson(np.exp(3 - 0.4 * risk)),
                        "since_last_activity_days": rng.poisson(np.exp(1 + 0.3 * risk)) + 1.0,
                        "score": np.where(rng.random(learners) < 0.5, np.nan, expit(0.5 - risk)),
                        "education": rng.choice(["school", "degree"], learners),
                        "y": y.astype(int),
                        "term": f"2020-{1 + offering // 2:02d}",
                        "starts_on": pd.Timestamp(2020, 1 + offering // 2, 1),
                        "known_on": pd.Timestamp(2020, 1 + offering // 2, 25),
                        "withdrawal_day": np.where(y, 40.0, np.nan),
                        "gender": rng.choice(["female", "male"], learners),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def scorer() -> RiskScorer:
    return fit_scorer(made_cohorts(0), "y", FEATURES, COLUMNS, settings=FEW_TREES)


def test_scores_of_new_cohorts_are_calibrated_and_lie_in_their_intervals(scorer):
    new = made_cohorts(1)
    scored = scorer.score(new)
    assert calibration_error(scored["probability"], new["y"]) < 0.05
    assert (scored["low"] <= scored["probability"]).all()
    assert (scored["probability"] <= scored["high"]).all()
    groups = new.assign(p=scored["probability"], low=scored["low"], high=scored["high"]).sort_values("p")
    groups = groups.groupby(np.arange(len(groups)) // 225)[["low", "y", "high"]].mean()
    sampling = 1.96 * np.sqrt(0.25 / 225)
    assert groups["y"].between(groups["low"] - sampling, groups["high"] + sampling).mean() >= 0.9


def test_the_same_rows_give_the_same_version_and_files_give_the_same_scores(scorer):
    again = fit_scorer(made_cohorts(0), "y", FEATURES, COLUMNS, settings=FEW_TREES)
    assert again.version == scorer.version
    saved = RiskScorer.from_dict(json.loads(json.dumps(scorer.to_dict())), scorer.model.to_text())
    assert saved.version == scorer.version
    pd.testing.assert_frame_equal(saved.score(made_cohorts(1)), scorer.score(made_cohorts(1)))


def test_another_seed_is_another_version_with_nearly_the_same_reasons(scorer):
    other = fit_scorer(made_cohorts(0), "y", FEATURES, COLUMNS, seed=5, settings=FEW_TREES)
    assert other.version != scorer.version
    assert stability(scorer, other, made_cohorts(1), ACTIONABLE) >= 0.7


def test_reasons_are_actionable_raise_the_risk_and_come_strongest_first(scorer):
    new = made_cohorts(1)
    explained = np.arange(len(new)) % 3 == 0
    reasons = scorer.reasons(new, ACTIONABLE, rows=explained)
    assert set(reasons["reason"]) <= set(ACTIONABLE)
    assert explained[reasons["row"]].all()
    assert (reasons["contribution"] > 0).all()
    assert (reasons.groupby("row")["contribution"].diff().dropna() <= 0).all()
    assert (reasons.groupby("row")["place"].first() == 1).all()
    told = reasons[reasons["column"] == "click_count"].iloc[0]
    row = new.iloc[told["row"]]
    peers = new[(new["offering"] == row["offering"]) & (new["week_number"] == row["week_number"])]
    assert told["value"] == row["click_count"]
    assert told["peers_median"] == peers["click_count"].median()


def test_nobody_to_explain_gives_no_reasons(scorer):
    assert scorer.reasons(made_cohorts(1), ACTIONABLE, rows=np.zeros(2700, bool)).empty


def test_more_leavers_than_earlier_cohorts_had_raise_a_cohorts_risk():
    early = EarlyOutcomes({0: -2.0, 8: -1.0}, slope=0.4, season={"2": 0.1}, cohort_sd=0.2)
    as_before, more = early.shift([8, 8], expit([-1.0, 0.0]), ["9", "2"])
    assert as_before == pytest.approx(0.0)
    assert more == pytest.approx(0.5)


def test_a_cohort_trains_only_when_its_outcomes_were_known_before_the_other_began():
    frame = made_cohorts(3)
    late = frame["term"] == "2020-02"
    names = {"term": "term", "starts_on": "starts_on", "known_on": "known_on"}
    found = {split.name: set(split.train["term"]) for split in splits(frame, "y", COLUMNS, **names)}
    assert found == {"2020-02": {"2020-01"}, "2020-03": {"2020-01", "2020-02"}}
    # All but the withdrawals of February become known in May: they alone must not train.
    frame.loc[late & (frame["y"] == 0), "known_on"] = pd.Timestamp(2020, 5, 1)
    found = {split.name: set(split.train["term"]) for split in splits(frame, "y", COLUMNS, **names)}
    assert found["2020-03"] == {"2020-01"}


def test_backtest_shows_every_model_and_a_challenger_must_win():
    frame = made_cohorts(4).assign(enrollment_key=lambda x: x["learner_key"])
    test = frame["term"] == "2020-03"
    found = backtest(
        [Split("2020-03", frame[~test], frame[test])],
        "y",
        FEATURES,
        COLUMNS,
        incumbent="logistic",
        alert_at=0.5,
        subgroups=("gender",),
        enrollment="enrollment_key",
        withdrawal_day="withdrawal_day",
        folds=2,
    )
    assert set(found.metrics["model"]) == {"lightgbm", "logistic", "hist_gradient_boosting", "seven_day_rule"}
    assert set(found.metrics["week_number"]) == {0, 4, 8}
    assert found.winner in {"logistic", "lightgbm"}
    auc = found.metrics.groupby("model")["auc"].mean()
    assert auc[found.winner] > auc["seven_day_rule"]
    assert set(found.subgroups["value"]) == {"female", "male"}
    assert len(found.ranking) == 3
    assert found.calibration["n"].sum() == test.sum()


def test_a_feature_that_knows_the_future_is_found():
    rows = made_cohorts(5, offerings=1)
    day = rows[rows["week_number"] == 4]
    truncated = day.copy()
    assert leaking_features(day, truncated, ["learner_key"], ["click_count", "score", "education"]) == []
    # Planted: the full data let the outcome into the score, and a word that was not known yet.
    planted = day.assign(
        score=day["score"].fillna(0) + day["y"], education=np.where(day["y"] == 1, "left", day["education"])
    )
    assert leaking_features(planted, truncated, ["learner_key"], ["click_count", "score", "education"]) == [
        "score",
        "education",
    ]


def test_a_row_that_was_not_there_on_the_day_is_found():
    day = made_cohorts(5, offerings=1)
    day = day[day["week_number"] == 4]
    assert leaking_features(day, day.iloc[1:], ["learner_key"], ["score"]) == ["row"]
