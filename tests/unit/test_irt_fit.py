"""Misfit, local dependence and differential functioning are found where planted, and only there."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.fit import differential_functioning, item_fit, residual_correlations
from tests.item_simulation import simulate


def test_rmsd_flags_the_item_that_does_not_follow_the_curve():
    rng = np.random.default_rng(1)
    data = simulate(rng, rng.standard_normal(4000), 20, missing=0.3, slope=np.full(20, 1.3))
    # The middle knows it, both ends do not: no logistic curve does that.
    odd = rng.random(len(data.item)) < np.where(np.abs(data.ability[data.person]) < 0.7, 0.9, 0.2)
    response = np.where(data.item == 4, odd, data.response)
    long = data.person, data.item, response
    fit = item_fit(calibrate(*long), *long).set_index("item")
    assert fit.index[fit["is_misfit"]].tolist() == [4]
    assert fit["rmsd"].drop(4).max() < 0.05
    assert fit["n"].sum() == len(response)


def test_rmsd_of_a_graded_bank_that_fits_is_small():
    rng = np.random.default_rng(2)
    data = simulate(rng, rng.standard_normal(3000), 10, steps=3)
    fit = item_fit(calibrate(*data.long, model="graded"), *data.long)
    assert fit["rmsd"].max() < 0.04


def test_residual_correlation_flags_the_pair_that_shares_more_than_ability():
    rng = np.random.default_rng(3)
    data = simulate(rng, rng.standard_normal(2000), 20)
    response = data.response.copy()
    first, second = (response[data.item == k] for k in (6, 7))
    copied = rng.random(len(first)) < 0.5
    response[data.item == 7] = np.where(copied, first, second)
    long = data.person, data.item, response
    quiz = pd.Series(np.arange(20) // 4, index=np.arange(20)).drop(19)
    pairs = residual_correlations(calibrate(*long), *long, quiz)
    assert len(pairs) == 4 * 6 + 3
    assert pairs.loc[pairs["is_dependent"], ["quiz", "item", "other_item"]].to_numpy().tolist() == [[1, 6, 7]]
    assert (pairs["n"] == 2000).all()


@pytest.fixture(scope="module")
def two_countries():
    """Country B is abler by .8; item 2 is harder for it by 1 logit, item 5 easier by .5."""
    rng = np.random.default_rng(4)
    country = np.where(np.arange(6000) % 3 == 0, "B", "A")
    is_b = (country == "B").astype(int)
    ability = rng.standard_normal(6000) + 0.8 * is_b
    step = rng.standard_normal((30, 1))
    plain = simulate(rng, ability, 30, missing=0.4, slope=rng.uniform(0.8, 1.6, 30), step=step)
    shift = np.zeros(30)
    shift[2], shift[5] = -1.0, 0.5
    logit = plain.slope[plain.item] * ability[plain.person] + step[plain.item, 0]
    logit += shift[plain.item] * is_b[plain.person]
    response = (rng.random(len(logit)) * (1 + np.exp(-logit)) < 1).astype(int)
    return plain.person, plain.item, response, country[plain.person], shift


def test_differential_functioning_finds_the_planted_shifts_despite_different_abilities(two_countries):
    person, item, response, country, shift = two_countries
    table = differential_functioning(calibrate(person, item, response), person, item, response, country)
    by_item = table.set_index("item")
    assert (by_item["group"] == "B").all()
    assert (by_item["reference"] == "A").all()
    np.testing.assert_allclose(by_item["shift"], shift, atol=4 * by_item["std_error"].max())
    assert by_item.loc[2, "ets_class"] == "C"
    assert by_item.loc[5, "ets_class"] in ("A", "B")
    assert (by_item["ets_class"].drop([2, 5]) == "A").all()
    z = ((by_item["shift"] - shift) / by_item["std_error"]).drop([2, 5])
    assert 0.6 < z.std() < 1.4


def test_differential_functioning_withholds_a_class_for_few_answers(two_countries):
    person, item, response, country, _ = two_countries
    few = person < 400
    bank = calibrate(person, item, response)
    table = differential_functioning(bank, person[few], item[few], response[few], country[few], reference="B")
    assert (table["group"] == "A").all()
    assert table.loc[(table["n"] < 100) | (table["reference_n"] < 100), "ets_class"].isna().all()
    with pytest.raises(ValueError, match="all persons are in one"):
        differential_functioning(bank, person, item, response, np.zeros(len(person)))
