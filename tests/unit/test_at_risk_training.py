"""The scorer end to end on made cohorts: calibrated, bracketed, explained, the same again from its files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss, roc_auc_score

from dagster_project.stats.risk.backtest import (
    Backtest,
    _challenge,
    backtest,
    leaking_features,
    splits,
    stability,
)
from dagster_project.stats.risk.calibration import Platt, calibration_error
from dagster_project.stats.risk.models import Feature
from dagster_project.stats.risk.rows import Columns, Rows, prepare
from dagster_project.stats.risk.training import RiskScorer, draw_training_rows, fit_scorer

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
                        "course_key": f"course {offering % 2}",
                        "learner_key": [f"{seed}-{offering}-{i}" for i in range(learners)],
                        "week_number": week,
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


def prepared(frame: pd.DataFrame) -> Rows:
    return prepare(frame, FEATURES, COLUMNS.cohort)


@pytest.fixture(scope="module")
def scorer() -> RiskScorer:
    return fit_scorer(draw_training_rows(prepared(made_cohorts(0)), "y", COLUMNS), settings=FEW_TREES)


def test_scores_of_new_cohorts_are_calibrated_and_lie_in_their_intervals(scorer):
    new = made_cohorts(1)
    scored = scorer.score(prepared(new))
    assert calibration_error(scored["probability"], new["y"]) < 0.05
    assert (scored["low"] <= scored["probability"]).all()
    assert (scored["probability"] <= scored["high"]).all()
    groups = new.assign(p=scored["probability"], low=scored["low"], high=scored["high"]).sort_values("p")
    groups = groups.groupby(np.arange(len(groups)) // 225)[["low", "y", "high"]].mean()
    sampling = 1.96 * np.sqrt(0.25 / 225)
    assert groups["y"].between(groups["low"] - sampling, groups["high"] + sampling).mean() >= 0.9


def test_other_keys_and_another_order_give_the_same_version_and_files_the_same_scores(scorer):
    """Learners are called otherwise, and rows lie otherwise: nothing that is fitted may know."""
    frame = made_cohorts(0)
    other_keys = {key: f"learner {place}" for place, key in enumerate(reversed(frame["learner_key"].unique()))}
    again = frame.assign(learner_key=frame["learner_key"].map(other_keys)).sample(frac=1, random_state=3)
    assert fit_scorer(draw_training_rows(prepared(again), "y", COLUMNS), settings=FEW_TREES).version == scorer.version
    saved = RiskScorer.from_dict(json.loads(json.dumps(scorer.to_dict())), scorer.model.to_text())
    assert saved.version == scorer.version
    new = prepared(made_cohorts(1))
    pd.testing.assert_frame_equal(saved.score(new), scorer.score(new))


def test_a_part_is_drawn_by_what_rows_hold_and_whole_learners_by_all_their_rows():
    frame = made_cohorts(0)
    other = frame.assign(learner_key=frame["learner_key"].str[::-1]).sample(frac=1, random_state=3)
    rows, others = prepared(frame), prepared(other)
    drawn, again = rows.drawn(1000), others.drawn(1000)
    assert 900 < len(drawn) < 1100
    assert set(drawn.hashes) == set(again.hashes)
    assert set(rows.drawn(500).hashes) <= set(drawn.hashes)
    learners = rows.drawn_by("learner_key", 1000)
    assert 900 < len(learners) < 1100
    assert (learners.frame.groupby("learner_key").size() == 3).all()
    names = {key[::-1] for key in others.drawn_by("learner_key", 1000).frame["learner_key"]}
    assert names == set(learners.frame["learner_key"])
    np.testing.assert_array_equal(
        learners.hashes, prepared(frame).take(frame["learner_key"].isin(names).to_numpy()).hashes
    )


def test_no_probability_is_shown_beyond_99_of_100(scorer):
    sure = made_cohorts(1).assign(click_count=0, since_last_activity_days=200.0, score=0.0)
    sure = sure.assign(click_count=np.where(np.arange(len(sure)) % 9, 0, 60))
    extreme = replace(scorer, calibration=Platt(9.0, 0.0))
    assert extreme.score(prepared(sure))["probability"].max() == 0.99


def test_another_seed_is_another_version_with_nearly_the_same_reasons():
    rows = prepared(made_cohorts(0))
    first, other = (fit_scorer(draw_training_rows(rows, "y", COLUMNS, seed=seed)) for seed in (1, 5))
    assert first.version != other.version
    new = made_cohorts(1)
    assert stability(first, other, prepared(new), new, ACTIONABLE) >= 0.7


def test_reasons_are_actionable_raise_the_risk_and_come_strongest_first(scorer):
    new = made_cohorts(1)
    explained = np.arange(len(new)) % 3 == 0
    reasons = scorer.reasons(prepared(new), new, ACTIONABLE, explained=explained)
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


def test_what_all_peers_have_in_common_is_no_reason(scorer):
    """Who clicked as much as the median of the cohort is not told of clicks, however the model weighs them."""
    new = made_cohorts(1)
    alike = new.assign(click_count=7)
    reasons = scorer.reasons(prepared(alike), alike, ACTIONABLE)
    assert len(reasons)
    assert "click_count" not in set(reasons["column"])
    numbers = reasons[reasons["value"].notna() & reasons["peers_median"].notna()]
    assert (numbers["value"] != numbers["peers_median"]).all()


def test_nobody_to_explain_gives_no_reasons(scorer):
    new = made_cohorts(1)
    assert scorer.reasons(prepared(new), new, ACTIONABLE, explained=np.zeros(2700, bool)).empty


def test_a_cohort_trains_only_when_its_outcomes_were_known_before_the_other_began():
    frame = made_cohorts(3)
    late = frame["term"] == "2020-02"
    names = {"starts_on": "starts_on", "known_on": "known_on"}

    def found() -> dict[str, set[str]]:
        return {x.name: set(x.train.frame["term"]) for x in splits(prepared(frame), "y", COLUMNS, **names)}

    assert found() == {"2020-02": {"2020-01"}, "2020-03": {"2020-01", "2020-02"}}
    # All but the withdrawals of February become known in May: they alone must not train.
    frame.loc[late & (frame["y"] == 0), "known_on"] = pd.Timestamp(2020, 5, 1)
    assert found()["2020-03"] == {"2020-01"}


def test_a_side_cohort_is_not_what_a_model_is_judged_by():
    frame = made_cohorts(3, offerings=8, learners=400)
    is_side = (frame["term"] == "2020-04") & (frame["learner_key"].str.split("-").str[-1].astype(int) >= 90)
    names = {"starts_on": "starts_on", "known_on": "known_on"}
    found = [split.name for split in splits(prepared(frame[~is_side]), "y", COLUMNS, **names)]
    assert found == ["2020-02", "2020-03"]  # of April 180 learners are left, of the others 800


@pytest.fixture(scope="module")
def tested() -> Backtest:
    frame = made_cohorts(4, offerings=8).assign(enrollment_key=lambda x: x["learner_key"], program_key="p")
    names = {"starts_on": "starts_on", "known_on": "known_on"}
    return backtest(
        list(splits(prepared(frame), "y", COLUMNS, **names)),
        "y",
        COLUMNS,
        incumbent="logistic",
        subgroups=("gender",),
        called_among=("program_key", "offering"),
        call_shares=lambda rows: np.full((len(rows), 2), 0.2),
        folds=2,
    )


def test_backtest_shows_every_model_on_every_cohort(tested):
    assert set(tested.metrics["model"]) == {"lightgbm", "logistic", "hist_gradient_boosting", "seven_day_rule"}
    assert set(tested.metrics["week_number"]) == {0, 4, 8}
    assert set(tested.metrics["split"]) == {"2020-03", "2020-04"}
    assert (tested.metrics["auc_low"] < tested.metrics["auc"]).all()
    assert (tested.metrics["auc"] < tested.metrics["auc_high"]).all()
    last = tested.metrics[tested.metrics["split"] == "2020-04"]
    auc = last.groupby("model")["auc"].mean()
    assert auc[tested.winner] > auc["seven_day_rule"]
    assert set(tested.subgroups["value"]) == {"female", "male"}
    assert len(tested.ranking) == 3
    assert set(tested.calibration["split"]) == {"2020-03", "2020-04"}


def test_whom_a_subgroup_table_takes_for_called_is_whom_the_team_can_call(tested):
    """Two fifths of each offering; at the most, as nobody is called whose odds are not twice the cohort's."""
    rate = np.average(tested.subgroups["call_rate"], weights=tested.subgroups["n"].astype(float))
    assert 0.25 < rate <= 0.4


def test_figures_follow_from_the_predictions_of_each_learner(tested):
    """Anew with scikit-learn from what is published; outcomes from the rows that were made."""
    outcome = made_cohorts(4, offerings=8).drop_duplicates("learner_key").set_index("learner_key")["y"]
    rows = tested.predictions.assign(y=tested.predictions["enrollment_key"].map(outcome))
    figures = tested.metrics.set_index(["split", "week_number", "model"])
    for key, part in rows.groupby(figures.index.names):
        told = figures.loc[key]
        assert len(part) == told["n"]
        assert roc_auc_score(part["y"], part["probability"]) == pytest.approx(told["auc"], abs=1e-12)
        assert brier_score_loss(part["y"], part["probability"]) == pytest.approx(told["brier"], abs=1e-12)
    assert len(rows) == tested.metrics["n"].sum()


def metrics_of(**auc_by_model: float) -> pd.DataFrame:
    lines = [
        {"split": split, "week_number": 4, "model": model, "auc": auc, "brier": 0.3 - 0.1 * auc}
        for split in ("a", "b")
        for model, auc in auc_by_model.items()
    ]
    return pd.DataFrame(lines)


@pytest.mark.parametrize(
    ("spread", "winner"), [(0.001, "logistic"), (0.02, "lightgbm")], ids=["beyond chance", "within chance"]
)
def test_a_challenger_must_win_beyond_chance_on_cohorts_that_are_not_reported(spread, winner):
    draws = np.random.default_rng(0).normal(0, spread, 400)
    paired = {"lightgbm": 0.70 + 0 * draws, "logistic": 0.71 + draws}
    metrics = metrics_of(lightgbm=0.70, logistic=0.71)
    assert _challenge(metrics, {("a", 4): paired}, "b", "lightgbm")[0] == winner
    # On the cohort that is reported the challenger is far better: that decides nothing.
    alone = metrics[metrics["split"] == "b"]
    assert _challenge(alone, {("b", 4): paired}, "b", "lightgbm")[0] == "lightgbm"


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
