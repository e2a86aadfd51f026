"""Organizations are told apart by latent regression, not by averaged scores, and percentile bands mean what they say.

    python -m pytest -m slow -s tests/statistics/test_irt_organizations.py       # prints the table

15 populations of 200 organizations (10 to some hundred members, effects with sd .35) whose members take the basic or
the advanced course by ability and answer 10 questions each; 30 of 110 questions are in both courses.
"""

import numpy as np
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

POPULATIONS, ORGANIZATIONS, OWN, SHARED, ANSWERS = 15, 200, 40, 30, 10
ADVANCED = 0.5  # abler by this, given the organization


def population(seed):
    rng = np.random.default_rng(seed)
    size = np.maximum(np.exp(rng.normal(4.0, 0.8, ORGANIZATIONS)).astype(int), 10)
    organization = np.repeat(np.arange(ORGANIZATIONS), size)
    effect = 0.35 * rng.standard_normal(ORGANIZATIONS)
    n = len(organization)
    advanced = (rng.random(n) < 1 / (1 + np.exp(-1.5 * effect[organization]))).astype(int)
    ability = effect[organization] + ADVANCED * advanced + 0.8 * rng.standard_normal(n)
    items = 2 * OWN + SHARED
    difficulty = rng.standard_normal(items) + np.r_[np.full(OWN, -0.5), np.zeros(SHARED), np.full(OWN, 0.5)]
    order = rng.random((n, items))
    order[:, -OWN:][advanced == 0] = 2
    order[:, :OWN][advanced == 1] = 2
    observed = np.zeros((n, items), bool)
    np.put_along_axis(observed, np.argpartition(order, ANSWERS, axis=1)[:, :ANSWERS], True, axis=1)
    return simulate(rng, ability, items, observed=observed, difficulty=difficulty), organization, effect, advanced


def percent_rank(values):
    return 100 * (values[:, None] > values[None, :]).sum(axis=1) / (len(values) - 1)


def results(seed):
    data, organization, effect, advanced = population(seed)
    group = advanced[data.person]
    bank = calibrate(*data.long, group=group)
    center, unit = data.ability[advanced == 0].mean(), data.ability[advanced == 0].std()
    ability = (data.ability - center) / unit
    size = np.bincount(organization)

    def average(values):
        return np.bincount(organization, values) / size

    def slope(estimate, truth):
        return np.polyfit(truth, estimate, 1, w=np.sqrt(size))[0]

    truth = (effect + ADVANCED * average(advanced) - center) / unit
    means = organization_means(ability_likelihood(bank, *data.long), organization, covariates=advanced)
    table = means.organizations
    eap = average(score(bank, *data.long, group=group)["ability"])
    plausible = plausible_values(means.posterior, draws=5, seed=seed)
    ranks = organization_percentiles(means, seed=seed)
    rank = percent_rank(truth)
    learners = expected_percentiles(group_posterior(bank, *data.long, group=group))
    learner_rank = 100 * (np.argsort(np.argsort(ability)) + 0.5) / len(ability)
    return {
        "slope, latent regression": slope(table["mean"], truth),
        "slope, plausible values": np.mean([slope(average(column), truth) for column in plausible.T]),
        "slope, averaged EAP": slope(eap, truth),
        "RMSE, latent regression": np.sqrt(np.average((table["mean"] - average(ability)) ** 2, weights=size)),
        "RMSE, averaged EAP": np.sqrt(np.average((eap - average(ability)) ** 2, weights=size)),
        "95 % interval of the mean": (np.abs(table["mean"] - truth) < 1.96 * table["std_error"]).mean(),
        "90 % band, organizations": ((ranks["percentile_low"] <= rank) & (rank <= ranks["percentile_high"])).mean(),
        "90 % band, learners": (
            (learners["percentile_low"] <= learner_rank) & (learner_rank <= learners["percentile_high"])
        ).mean(),
    }


@pytest.mark.slow
def test_organization_means_are_unshrunk_and_bands_cover():
    runs = [results(seed) for seed in range(POPULATIONS)]
    mean = {name: np.mean([run[name] for run in runs]) for name in runs[0]}
    print("\n| figure | mean | sd over populations |\n|---|---|---|")
    for name, value in mean.items():
        print(f"| {name} | {value:.3f} | {np.std([run[name] for run in runs]):.3f} |")
    assert 0.97 <= mean["slope, latent regression"] <= 1.03
    assert 0.97 <= mean["slope, plausible values"] <= 1.03
    assert mean["slope, averaged EAP"] < 0.8
    assert mean["RMSE, latent regression"] < mean["RMSE, averaged EAP"]
    assert 0.93 <= mean["95 % interval of the mean"] <= 0.97
    assert 0.88 <= mean["90 % band, organizations"] <= 0.92
    assert 0.88 <= mean["90 % band, learners"] <= 0.92
