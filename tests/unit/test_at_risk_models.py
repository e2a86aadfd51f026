"""Models of risk: contributions add up, the same seed gives the same model, ranks stay within their week."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dagster_project.stats.risk.models import (
    MODELS,
    BoostedTrees,
    Encoder,
    Feature,
    LinearRisk,
    SevenDayRule,
    rank_within_cohort,
)
from dagster_project.stats.risk.rows import prepare

COHORT = ("offering", "week_number")
FEATURES = (
    Feature("week_number", "time"),
    Feature("click_count", "activity", "rank", -1),
    Feature("since_last_activity_days", "activity", direction=1),
    Feature("last_score_share", "scores", direction=-1),
    Feature("region", "background", "category"),
)


def made_frame(seed: int, rows: int = 2000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "offering": rng.choice(["a", "b"], rows),
            "week_number": rng.integers(0, 4, rows),
            "click_count": rng.poisson(20, rows) * rng.choice([1, 10], rows),
            "since_last_activity_days": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 20, rows)),
            "last_score_share": np.where(rng.random(rows) < 0.5, np.nan, rng.random(rows)),
            "region": rng.choice(["north", "south", None], rows, p=[0.5, 0.4, 0.1]),
        }
    )
    risk = -1 + 0.1 * frame["since_last_activity_days"].fillna(20) - 0.02 * frame["click_count"].clip(upper=50)
    frame["outcome"] = (rng.random(rows) < expit(risk)).astype(int)
    return frame


def fitted(kind: str, frame: pd.DataFrame, seed: int = 1):
    rows = prepare(frame, FEATURES, COHORT)
    encoder = Encoder.fit(rows, frame["outcome"])
    bound = MODELS[kind].bind(encoder.encode(rows))
    return encoder, MODELS[kind].fit(bound, np.arange(len(rows)), frame["outcome"], encoder.features, seed=seed)


def encoded(encoder: Encoder, frame: pd.DataFrame) -> np.ndarray:
    return encoder.encode(prepare(frame, FEATURES, COHORT))


@pytest.mark.parametrize("kind", [kind for kind, model in MODELS.items() if model.is_explainable])
def test_contributions_and_base_add_up_to_the_log_odds(kind):
    encoder, model = fitted(kind, made_frame(0))
    new = encoded(encoder, made_frame(1))
    contributions = model.contributions(new)
    assert contributions.shape == (len(new), len(encoder.features) + 1)
    np.testing.assert_allclose(contributions.sum(axis=1), model.log_odds(new), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", list(MODELS))
def test_the_same_seed_gives_the_same_scores(kind):
    frame = made_frame(0)
    encoder, model = fitted(kind, frame)
    _, again = fitted(kind, frame)
    np.testing.assert_array_equal(model.log_odds(encoded(encoder, frame)), again.log_odds(encoded(encoder, frame)))
    if model.is_explainable:
        assert model.to_text() == again.to_text()


@pytest.mark.parametrize("kind", [kind for kind, model in MODELS.items() if model.is_explainable])
def test_a_saved_model_scores_as_it_did(kind):
    encoder, model = fitted(kind, made_frame(0))
    matrix = encoded(Encoder.from_dict(encoder.to_dict()), made_frame(1))
    np.testing.assert_array_equal(MODELS[kind].from_text(model.to_text()).log_odds(matrix), model.log_odds(matrix))


@pytest.mark.parametrize("kind", ["hist_gradient_boosting"])
def test_a_model_without_exact_contributions_has_no_file(kind):
    _, model = fitted(kind, made_frame(0))
    assert not model.is_explainable
    with pytest.raises(NotImplementedError, match="champion"):
        model.to_text()
    with pytest.raises(NotImplementedError, match="champion"):
        model.contributions(np.zeros((1, len(FEATURES))))


def test_more_idle_days_never_lower_the_risk():
    encoder, model = fitted("lightgbm", made_frame(0))
    row = encoded(encoder, made_frame(1))[:1].repeat(30, axis=0)
    row[:, encoder.names.index("since_last_activity_days")] = np.arange(30)
    assert (np.diff(model.log_odds(row)) >= 0).all()
    assert np.ptp(model.log_odds(row)) > 0.1


def test_ranks_do_not_see_later_weeks():
    frame = made_frame(2)
    later = frame[frame["week_number"] <= 1]
    whole = rank_within_cohort(frame, ["click_count"], COHORT).loc[later.index]
    pd.testing.assert_frame_equal(whole, rank_within_cohort(later, ["click_count"], COHORT))


def test_ranks_are_midranks_from_0_to_1_and_missing_stays_missing():
    frame = pd.DataFrame({"offering": "a", "week_number": 0, "score": [3.0, 1.0, 1.0, np.nan]})
    ranks = rank_within_cohort(frame, ["score"], COHORT)["score"]
    np.testing.assert_allclose(ranks, [5 / 6, 1 / 3, 1 / 3, np.nan])


def test_a_word_that_training_did_not_know_counts_as_missing():
    encoder, _ = fitted("logistic", made_frame(0))
    new = made_frame(1).assign(region="west")
    assert np.isnan(encoded(encoder, new)[:, encoder.names.index("region")]).all()


def test_category_words_are_ordered_by_the_outcome_in_training():
    frame = made_frame(0)
    outcome = (frame["region"] == "north").to_numpy(int)
    assert Encoder.fit(prepare(frame, FEATURES, COHORT), outcome).levels["region"] == ("south", "north")


def test_a_trend_is_the_difference_of_two_ranks():
    trend = Feature("click_count", "activity", "trend", against="last_score_share")
    frame = made_frame(0)
    found = prepare(frame, [trend], COHORT).matrix[:, 0]
    ranks = rank_within_cohort(frame, ["click_count", "last_score_share"], COHORT)
    np.testing.assert_array_equal(found, (ranks["click_count"] - ranks["last_score_share"]).astype(np.float32))


def test_columns_that_hold_nothing_are_left_out_and_none_at_all_is_an_error():
    frame = made_frame(0).assign(last_score_share=np.nan).drop(columns="region")
    outcome = frame["outcome"]
    expected = ["week_number", "click_count rank", "since_last_activity_days"]
    assert Encoder.fit(prepare(frame, FEATURES, COHORT), outcome).names == expected
    with pytest.raises(ValueError, match="No feature varies"):
        Encoder.fit(prepare(frame, [Feature("last_score_share", "scores")], COHORT), outcome)
    with pytest.raises(ValueError, match="cohort"):
        prepare(frame.drop(columns="offering"), FEATURES, COHORT)


def test_boosting_ranks_better_than_the_seven_day_rule():
    from dagster_project.stats.risk.metrics import auc

    new = made_frame(9)
    found = {}
    for model in (BoostedTrees, LinearRisk, SevenDayRule):
        encoder, model = fitted(model.kind, made_frame(0))
        found[model.kind] = auc(model.log_odds(encoded(encoder, new)), new["outcome"])
    assert min(found["lightgbm"], found["logistic"]) > found["seven_day_rule"] + 0.03
