"""Abilities of many persons at once: posteriors, plausible values, percentiles.

A posterior mean (EAP) is shrunk towards its prior, so that averages of EAPs pull organizations together and the tails
of their distribution are too thin. Everything here works on whole posteriors instead: one likelihood per person, shape
(persons, nodes), computed once on the frozen bank; priors are put on it afterwards.

Memory: four bytes per person and node for the likelihood, as much again for posteriors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank, log_probability_table, prior_on
from dagster_project.stats.item_response.quadrature import Grid
from dagster_project.stats.item_response.responses import Responses, label
from dagster_project.stats.item_response.scoring import read_responses

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AbilityLikelihood:
    """Likelihood of each person's answers by ability, largest value 1.

    Attributes:
        persons: labels, ascending, shape (persons,)
        node: abilities, shape (nodes,)
        value: float32, shape (persons, nodes)
        answers: number of answers used, shape (persons,)
    """

    persons: np.ndarray
    node: np.ndarray
    value: np.ndarray
    answers: np.ndarray

    def posterior(self, mean=0.0, sd=1.0) -> Posterior:
        """Posterior under normal priors: ``mean`` and ``sd`` are numbers or of shape (persons,)."""
        from dagster_project.stats.item_response import kernels

        n = len(self.persons)
        weight = np.empty_like(self.value)
        mean = np.ascontiguousarray(np.broadcast_to(np.asarray(mean, float), n))
        sd = np.ascontiguousarray(np.broadcast_to(np.asarray(sd, float), n))
        kernels.moments_under_normal_priors(self.value, self.node, mean, sd, np.empty(n), np.empty(n), weight)
        return Posterior(self.persons, self.node, weight)


@dataclass(frozen=True)
class Posterior:
    """Probabilities of abilities ``node`` by person; ``weight`` float32 of shape (persons, nodes), rows sum to 1."""

    persons: np.ndarray
    node: np.ndarray
    weight: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd by person."""
        mean = self.weight @ self.node
        return mean, np.sqrt(np.maximum(self.weight @ self.node**2 - mean**2, 0.0))


def ability_likelihood(bank: ItemBank, person, item, response, *, nodes: int | None = None) -> AbilityLikelihood:
    """Likelihood by ability of every person, on a frozen bank.

    Args:
        bank, person, item, response: as for `scoring.score`; answers to unknown items do not count.
        nodes: equally spaced abilities on ±6; the bank's number if not given.
    """
    data, _ = read_responses(bank, person, item, response)
    return _likelihood(bank, data, Grid(nodes or bank.nodes))


def group_posterior(bank: ItemBank, person, item, response, *, group=None) -> Posterior:
    """Posterior of every person under the bank's ability distribution of the person's group (mixture without one)."""
    data, _ = read_responses(bank, person, item, response, group=group)
    grid = Grid(bank.nodes)
    likelihood = _likelihood(bank, data, grid)
    prior = np.exp(prior_on(bank, grid, grouped=group is not None))[:, : grid.nodes].astype(np.float32)
    weight = likelihood.value
    for at in chunks(len(weight)):
        weight[at] *= prior[data.group[at]]
        weight[at] /= weight[at].sum(axis=1, keepdims=True)
    return Posterior(likelihood.persons, likelihood.node, weight)


def plausible_values(posterior: Posterior, *, draws: int = 10, seed: int = 0) -> np.ndarray:
    """Random draws from each person's posterior, for statistics that a shrunken mean would distort.

    The posterior must know what the statistic is about: averages by organization need the posterior of
    `organizations.organization_means`, or they are shrunk as scores are. Compute the statistic on each column and
    average; between columns it varies by measurement error (Mislevy 1991).

    Returns:
        array of shape (persons, draws): continuous, with the posterior's mean and variance.
    """
    rng = np.random.default_rng(seed)
    node, spacing = posterior.node, posterior.node[1] - posterior.node[0]
    mean, sd = posterior.moments()
    out = np.empty((len(mean), draws))
    for at in chunks(len(mean)):
        cumulative = np.cumsum(posterior.weight[at], axis=1, dtype=np.float64)
        cumulative /= cumulative[:, -1:]
        uniform = rng.random((len(cumulative), draws))
        position = np.empty(uniform.shape, np.int64)
        for k in range(draws):
            position[:, k] = (cumulative < uniform[:, [k]]).sum(axis=1)
        # Spread over the node's cell, then pulled in by what that adds to the variance.
        spread = node[position] + spacing * (rng.random(uniform.shape) - 0.5)
        shrink = sd[at] / np.sqrt(sd[at] ** 2 + spacing**2 / 12)
        out[at] = mean[at, None] + (spread - mean[at, None]) * shrink[:, None]
    return out


def expected_percentiles(
    posterior: Posterior, *, comparison=None, coverage: float = 0.90, scale_error=None
) -> pd.DataFrame:
    """Percentile of each person among the comparison group: mean, sd and band over the person's posterior.

    The group's distribution F is the mean of its members' posteriors; the percentile is E[F(θ)] and its band F at the
    posterior's quantiles. A percentile of the EAP itself would put too few persons into both ends.

    Args:
        posterior: of every person.
        comparison (array of shape (persons,), optional): label of the group each person is compared within, in the
            order of ``posterior.persons``; all if not given.
        coverage: posterior probability of the band.
        scale_error (array of shape (persons,), optional): sd of an error of each ability that the posterior does not
            know, of the scale itself; it widens the person's own figures, not the distribution compared with.

    Returns:
        frame: person, percentile, percentile_sd, percentile_low, percentile_high, comparison_n. Percentiles 0–100.
    """
    import pandas as pd

    from dagster_project.stats.item_response import longitudinal_kernels

    node, n = posterior.node, len(posterior.persons)
    code = np.zeros(n, np.int32) if comparison is None else label(comparison, "comparison", length=n).codes
    groups = int(code.max(initial=0)) + 1
    size = np.bincount(code, minlength=groups)
    mass = np.zeros((groups, len(node)))
    for at in chunks(n):
        for group in np.unique(code[at]):
            mass[group] += posterior.weight[at][code[at] == group].sum(axis=0, dtype=float)
    mass /= size[:, None]
    below = np.cumsum(mass, axis=1) - 0.5 * mass  # F at the nodes, half of a node's mass lying below it
    edge = node + 0.5 * (node[1] - node[0])
    out = np.empty((4, n))
    tails = (1 - coverage) / 2, (1 + coverage) / 2
    for at in chunks(n):
        weight, f = posterior.weight[at].astype(np.float64), below[code[at]]
        if scale_error is not None:
            longitudinal_kernels.widen(weight, node[1] - node[0], np.ascontiguousarray(scale_error[at], float))
        out[0, at] = (weight * f).sum(axis=1)
        out[1, at] = np.sqrt(np.maximum((weight * f**2).sum(axis=1) - out[0, at] ** 2, 0.0))
        cumulative = np.cumsum(weight, axis=1)
        for k, tail in enumerate(tails):
            theta = _crossing(cumulative, edge, tail)
            position = np.clip((theta - node[0]) / (node[1] - node[0]), 0, len(node) - 1.000001)
            left = position.astype(int)
            rows = np.arange(len(f))
            out[2 + k, at] = f[rows, left] + (position - left) * (f[rows, left + 1] - f[rows, left])
    return pd.DataFrame(
        {
            "person": posterior.persons,
            "percentile": 100 * out[0],
            "percentile_sd": 100 * out[1],
            "percentile_low": 100 * out[2],
            "percentile_high": 100 * out[3],
            "comparison_n": size[code],
        }
    )


def _likelihood(bank: ItemBank, data: Responses, grid: Grid) -> AbilityLikelihood:
    from dagster_project.stats.item_response import kernels

    layout, parameters = bank.parameters()
    value = np.empty((len(data.persons), grid.nodes), np.float32)
    kernels.likelihoods(data.start, data.row, log_probability_table(layout, parameters, grid), value)
    return AbilityLikelihood(data.persons, grid.node, value, np.diff(data.start))


def _crossing(cumulative: np.ndarray, edge: np.ndarray, probability: float) -> np.ndarray:
    """Ability at which each row's cumulative probability, linear between cell edges, crosses a value."""
    at = np.minimum((cumulative < probability).sum(axis=1), len(edge) - 1)
    rows = np.arange(len(cumulative))
    upper = cumulative[rows, at]
    lower = np.where(at > 0, cumulative[rows, np.maximum(at - 1, 0)], 0.0)
    spacing = edge[1] - edge[0]
    inside = np.clip((probability - lower) / np.maximum(upper - lower, 1e-12), 0.0, 1.0)
    return edge[at] - spacing + spacing * inside


def chunks(n: int, size: int = 20_000) -> Iterator[slice]:
    """Slices of at most ``size`` of ``n`` persons, so that what is held of all nodes stays small."""
    return (slice(first, min(first + size, n)) for first in range(0, n, size))
