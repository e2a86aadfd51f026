"""Statements about many persons: plausible values, percentiles, organizations, and when they are withheld."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.abilities import (
    ability_likelihood,
    expected_percentiles,
    group_posterior,
    plausible_values,
)
from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.organizations import organization_means, organization_percentiles
from dagster_project.stats.item_response.scoring import score
from tests.item_simulation import simulate


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(1)
    size = np.r_[np.full(30, 60), 5, 4]
    organization = np.repeat(np.arange(32), size)
    effect = rng.permutation(np.linspace(-0.8, 0.8, 32))
    ability = effect[organization] + 0.9 * rng.standard_normal(len(organization))
    data = simulate(rng, ability, 30, missing=0.6)
    bank = calibrate(*data.long)
    return data, bank, organization, effect


def test_posterior_moments_are_those_of_scoring(case):
    data, bank, *_ = case
    scored = score(bank, *data.long)
    for posterior in (group_posterior(bank, *data.long), ability_likelihood(bank, *data.long).posterior()):
        mean, sd = posterior.moments()
        np.testing.assert_allclose(mean, scored["ability"], atol=1e-5)
        np.testing.assert_allclose(sd, scored["std_error"], atol=1e-5)


def test_plausible_values_have_the_posterior_mean_and_variance(case):
    data, bank, *_ = case
    posterior = group_posterior(bank, *data.long)
    values = plausible_values(posterior, draws=400, seed=1)
    mean, sd = posterior.moments()
    assert np.abs((values.mean(axis=1) - mean) / sd * 20).max() < 5
    assert (values.std(axis=1) / sd).mean() == pytest.approx(1.0, abs=0.005)
    # Unlike the posterior means they have the spread of the abilities.
    assert values.std() == pytest.approx(1.0, abs=0.04)
    assert mean.std() < 0.92
    np.testing.assert_array_equal(values, plausible_values(posterior, draws=400, seed=1))


def test_percentiles_average_to_fifty_and_stay_inside_their_band(case):
    data, bank, organization, _ = case
    posterior = group_posterior(bank, *data.long)
    table = expected_percentiles(posterior)
    assert table["percentile"].mean() == pytest.approx(50.0, abs=1e-3)
    assert (table["percentile_low"] < table["percentile"]).all()
    assert (table["percentile"] < table["percentile_high"]).all()
    within = expected_percentiles(posterior, comparison=organization)
    np.testing.assert_allclose(within.groupby(organization)["percentile"].mean(), 50.0, atol=1e-3)
    assert within["comparison_n"].iloc[0] == 60


def test_organization_means_are_the_averages_of_their_members_posteriors(case):
    data, bank, organization, _ = case
    result = organization_means(ability_likelihood(bank, *data.long), organization)
    assert result.converged
    assert result.organizations["organization"].tolist() == list(range(30))
    member_mean = pd.Series(result.posterior.moments()[0]).groupby(organization).mean()[:30]
    np.testing.assert_allclose(result.organizations["mean"], member_mean, atol=1e-4)
    assert (result.organization_code[organization >= 30] == -1).all()


def test_organization_means_are_not_shrunk_but_their_ranks_are(case):
    data, bank, organization, effect = case
    eap = score(bank, *data.long)["ability"].groupby(organization).mean()[:30]
    table = organization_means(ability_likelihood(bank, *data.long), organization).organizations
    z = (effect - effect[organization].mean()) / data.ability.std()
    assert np.polyfit(z[:30], table["mean"], 1)[0] == pytest.approx(1.0, abs=0.1)
    assert np.polyfit(z[:30], eap, 1)[0] < 0.85
    assert (np.abs(table["mean"] - z[:30]) < 1.96 * table["std_error"]).mean() > 0.8
    assert table["shrunken_mean"].std() < table["mean"].std()
    assert (table["shrunken_sd"] < table["std_error"]).all()


def test_covariates_are_estimated_and_collinear_ones_refused(case):
    data, bank, organization, _ = case
    likelihood = ability_likelihood(bank, *data.long)
    rng = np.random.default_rng(0)
    x = (data.ability + rng.standard_normal(len(organization)) > 0).astype(float)
    result = organization_means(likelihood, organization, covariates=x)
    assert result.coefficients.shape == (1,)
    assert result.coefficients[0] > 0.5
    with pytest.raises(ValueError, match="determined by each other or by organization"):
        organization_means(likelihood, organization, covariates=np.stack([x, 2 * x], axis=1))
    with pytest.raises(ValueError, match="determined by each other or by organization"):
        organization_means(likelihood, organization, covariates=(organization > 10).astype(float))
    with pytest.raises(ValueError, match="one per person"):
        organization_means(likelihood, organization[:-1])


def test_missing_organizations_are_left_out_of_the_table(case):
    data, bank, organization, _ = case
    some = pd.Series(organization).map("org {:02d}".format).astype(object)
    some[organization == 3] = None
    table = organization_means(ability_likelihood(bank, *data.long), some).organizations
    assert len(table) == 29
    assert "org 03" not in set(table["organization"])


def test_organization_percentiles_order_bands_and_reasons(case):
    data, bank, organization, _ = case
    means = organization_means(ability_likelihood(bank, *data.long), organization)
    table = organization_percentiles(means)
    best = table.loc[table["mean"].idxmax()]
    worst = table.loc[table["mean"].idxmin()]
    assert best["organization_percentile"] > 90
    assert best["band"] == "cutting-edge"
    assert worst["organization_percentile"] < 10
    assert worst["band"] == "lagging"
    assert table["members_percentile"].mean() == pytest.approx(50, abs=2)
    # A band is named where the whole interval lies in it: 76 to 100, 51 to 75, 26 to 50, 0 to 25.
    ends = table[["percentile_low", "percentile_high"]].round()
    same = ends.apply(pd.cut, bins=[-1, 25, 50, 75, 100]).astype(str).nunique(axis=1) == 1
    assert (same == (table["band"] != "not yet clear")).all()
    assert 0 < same.sum() < len(table)
    # Members of the best organization are not all better than everybody elsewhere.
    assert 60 < best["members_percentile"] < 90
    assert (table["percentile_low"] <= table["organization_percentile"]).all()
    assert (table["organization_percentile"] <= table["percentile_high"]).all()

    industry = {k: "few" if k < 5 else "enough" for k in range(29)}
    by_industry = organization_percentiles(means, industry)
    few = by_industry["comparison"] == "few"
    assert by_industry.loc[few, "organization_percentile"].isna().all()
    assert by_industry.loc[few, "reason"].str.startswith("4 other organizations").all()
    assert by_industry.loc[by_industry["comparison"] == "enough", "organization_percentile"].notna().all()
    assert pd.isna(by_industry.loc[29, "comparison"])


def test_a_dominated_comparison_is_withheld():
    rng = np.random.default_rng(2)
    organization = np.repeat(np.arange(8), [500] + [20] * 7)
    data = simulate(rng, rng.standard_normal(len(organization)), 20)
    means = organization_means(ability_likelihood(calibrate(*data.long), *data.long), organization)
    table = organization_percentiles(means)
    assert table["reason"][1:].str.contains("of the members compared with").all()
    assert table["organization_percentile"].isna().tolist() == [False] + [True] * 7
