"""Mean abilities of organizations, and where each stands among the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.abilities import AbilityLikelihood, Posterior, chunks
from dagster_project.stats.item_response.intervals import with_intervals

if TYPE_CHECKING:
    import pandas as pd

FEWEST_MEMBERS = 10
FEWEST_ORGANIZATIONS = 5
LARGEST_SHARE = 0.5  # of a comparison group's members in one organization
NOT_CLEAR = "not yet clear"
BANDS = ((76.0, "cutting-edge"), (51.0, "competitive"), (26.0, "emerging"), (0.0, "lagging"))
MOST_ITERATIONS = 2000


@dataclass(frozen=True)
class OrganizationMeans:
    """Latent regression of ability on organization and covariates.

    Attributes:
        organizations (frame: organization, n, mean, std_error, shrunken_mean, shrunken_sd): ``mean``: unshrunk mean
            ability of the members, std_error of the organization's effect; the shrunken posterior mean and sd under a
            normal distribution of organizations.
        coefficients: covariates' coefficients, shape (covariates,)
        residual_sd: sd of ability within organizations given the covariates
        posterior: Posterior of every person, given organization and covariates
        organization_code: row in ``organizations`` by person, -1 for those without one that is large enough
        iterations, converged: of EM
    """

    organizations: pd.DataFrame
    coefficients: np.ndarray
    residual_sd: float
    posterior: Posterior
    organization_code: np.ndarray
    iterations: int
    converged: bool

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Normal confidence intervals of the unshrunk means: organization, n, estimate, std_error, low, high."""
        frame = self.organizations[["organization", "n", "mean", "std_error"]]
        return with_intervals(frame.rename(columns={"mean": "estimate"}), level)

    def summary(self) -> str:
        """How many organizations, how far apart, and how it went, in a few lines."""
        frame = self.organizations
        lines = [f"{len(frame):,} organizations with {int(frame['n'].sum()):,} members"]
        if len(frame):
            lines.append(
                f"means {frame['mean'].min():.2f} to {frame['mean'].max():.2f}, median {frame['mean'].median():.2f}, "
                f"median standard error {frame['std_error'].median():.3f}"
            )
        lines.append(f"sd of ability within organizations {self.residual_sd:.2f}, {len(self.coefficients)} covariates")
        lines.append(f"{'converged' if self.converged else 'not converged'} after {self.iterations} iterations")
        return "\n".join(lines)


def organization_means(
    likelihood: AbilityLikelihood, organization, *, covariates=None, fewest: int = FEWEST_MEMBERS
) -> OrganizationMeans:
    """Mean ability of organizations by latent regression: θ ~ N(x'γ + μ_organization, σ²), the item bank frozen.

    EM (Mislevy 1984) with SQUAREM: posterior moments of every person, then least squares with a constant for each
    organization and σ² = mean(residual² + posterior variance). At convergence an organization's unshrunk mean is the
    average of its members' posterior means *under its own prior*; the standard error is
    [Σ (σ² - v_i) / σ⁴]^-½ with v_i the posterior variances.

    Args:
        likelihood: of every person's answers.
        organization (array of shape (persons,), in the order of ``likelihood.persons``): missing values (None, NaN) are
            persons without one. Organizations below ``fewest`` members share a constant with each other and are not
            reported.
        covariates (array of shape (persons, covariates), optional): for instance dummies of course pattern and country:
            what selects people into questions.
        fewest: members from which on an organization has a constant of its own.

    Raises:
        ValueError: shapes that do not fit, or covariates that organizations and each other determine.
    """
    import pandas as pd

    from dagster_project.stats.item_response import kernels

    n = len(likelihood.persons)
    code, labels = pd.factorize(pd.Series(np.asarray(organization, object)), sort=True)
    if len(code) != n:
        raise ValueError(f"organization has {len(code)} elements; expected {n}, one per person of the likelihood")
    size = np.bincount(code[code >= 0], minlength=len(labels))
    large = np.flatnonzero(size >= fewest)
    position = np.full(len(labels) + 2, -1)
    position[large] = np.arange(len(large))
    small_at, none_at = len(large), len(large) + 1
    shown = position[code]
    cell = np.where(shown >= 0, shown, np.where(code >= 0, small_at, none_at))
    cells = len(large) + 2
    count = np.maximum(np.bincount(cell, minlength=cells), 1)

    x = np.empty((n, 0)) if covariates is None else np.asarray(covariates, float).reshape(len(covariates), -1)
    if len(x) != n or not np.isfinite(x).all():
        raise ValueError(f"covariates have shape {x.shape}; expected {n} rows, one per person, without missing values")
    x_mean = np.empty((cells, x.shape[1]))
    for k, column in enumerate(x.T):
        x_mean[:, k] = np.bincount(cell, column, cells) / count
    total = x.T @ x
    gram = total - (x_mean * count[:, None]).T @ x_mean
    if x.shape[1] and np.linalg.matrix_rank(gram, 1e-8 * total.diagonal().max(), hermitian=True) < x.shape[1]:
        raise ValueError("covariates are determined by each other or by organization: drop one dummy of each set")

    mean, variance = np.empty(n), np.empty(n)
    no_weight = np.empty((0, 0), np.float32)

    def step(vector: np.ndarray) -> np.ndarray:
        gamma, mu, sigma = vector[: x.shape[1]], vector[x.shape[1] : -1], np.exp(vector[-1])
        prior = mu[cell] + x @ gamma
        kernels.moments_under_normal_priors(
            likelihood.value, likelihood.node, prior, np.full(n, sigma), mean, variance, no_weight
        )
        by_cell = np.bincount(cell, mean, cells) / count
        gamma = np.linalg.solve(gram, x.T @ mean - (x_mean * count[:, None]).T @ by_cell) if x.shape[1] else gamma
        mu = by_cell - x_mean @ gamma
        residual = mean - mu[cell] - x @ gamma
        return np.concatenate([gamma, mu, [0.5 * np.log(np.mean(residual**2 + variance))]])

    vector, iterations, converged = _fixed_point(step, np.concatenate([np.zeros(x.shape[1] + cells), [0.0]]))
    gamma, mu, sigma = vector[: x.shape[1]], vector[x.shape[1] : -1], float(np.exp(vector[-1]))
    posterior = likelihood.posterior(mu[cell] + x @ gamma, sigma)
    _, sd = posterior.moments()
    information = np.bincount(cell, sigma**2 - sd**2, cells)[: len(large)] / sigma**4
    with np.errstate(divide="ignore", invalid="ignore"):
        error = 1.0 / np.sqrt(np.maximum(information, 0.0))
    organization_mean = (mu + x_mean @ gamma)[: len(large)]
    shrunken, shrunken_sd = shrink(organization_mean, error)
    frame = pd.DataFrame(
        {
            "organization": np.asarray(labels)[large],
            "n": size[large],
            "mean": organization_mean,
            "std_error": error,
            "shrunken_mean": shrunken,
            "shrunken_sd": shrunken_sd,
        }
    )
    return OrganizationMeans(frame, gamma, sigma, posterior, shown, iterations, converged)


def with_scale_error(means: OrganizationMeans, variance: np.ndarray) -> OrganizationMeans:
    """The means with errors of the scale added, shrunk anew; ``variance`` (organizations,) of each mean."""
    frame = means.organizations.copy()
    frame["std_error"] = np.sqrt(frame["std_error"] ** 2 + variance)
    shrunken, sd = shrink(frame["mean"].to_numpy(float), frame["std_error"].to_numpy(float))
    frame["shrunken_mean"], frame["shrunken_sd"] = shrunken, sd
    return replace(means, organizations=frame)


def organization_percentiles(
    means: OrganizationMeans, comparison=None, *, coverage: float = 0.90, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Where each organization stands within its comparison group, which leaves the organization itself out.

    ``members_percentile`` is the average E[F(θ)] of its members among the other organizations' members;
    ``organization_percentile`` is the organization's place among the other organizations, with a band, both from draws
    of the shrunken posteriors (unshrunk means would fill both ends with small organizations).

    Args:
        means: as `organization_means` found them.
        comparison (mapping or series, organization → label, optional): industry, country, size band …; organizations
            without one are left out. All organizations if not given.

    Returns:
        frame: organization, comparison, n, mean, std_error, members_percentile, organization_percentile, percentile_sd,
        percentile_low, percentile_high, band, organizations, reason. Percentiles 0–100, missing with a ``reason`` when
        there are fewer than 5 other organizations or one of them has more than half of their members. ``band``:
        cutting-edge ≥ 76, competitive 51–75, emerging 26–50, lagging ≤ 25, where the whole interval lies in it; else
        "not yet clear".
    """
    import pandas as pd

    frame = means.organizations
    node = means.posterior.node
    if comparison is None:
        label_of = pd.Series("all", index=frame.index)
    else:
        label_of = frame["organization"].map(pd.Series(comparison))
    mass = np.zeros((len(frame), len(node)))
    for at in chunks(len(means.posterior.persons)):
        member = means.organization_code[at] >= 0
        np.add.at(mass, means.organization_code[at][member], means.posterior.weight[at][member])
    rng = np.random.default_rng(seed)
    drawn = frame["shrunken_mean"].to_numpy()[:, None] + frame["shrunken_sd"].to_numpy()[:, None] * rng.standard_normal(
        (len(frame), draws)
    )
    n = frame["n"].to_numpy(float)
    figures = np.full((len(frame), 5), np.nan)
    organizations = np.zeros(len(frame), int)
    reasons: list[str | None] = [None] * len(frame)
    for _, members in label_of.dropna().groupby(label_of).groups.items():
        at = frame.index.get_indexer(members)
        total, total_n = mass[at].sum(axis=0), n[at].sum()
        # Place of each draw among the draws of the same round, itself not counted.
        place = np.argsort(np.argsort(drawn[at], axis=0), axis=0)
        for k, i in enumerate(at):
            organizations[i] = len(at) - 1
            reasons[i] = _not_comparable(n[at[at != i]])
            if reasons[i] is None:
                distribution = (total - mass[i]) / (total_n - n[i])
                below = np.cumsum(distribution) - 0.5 * distribution
                share = 100 * place[k] / (len(at) - 1)
                low, high = np.quantile(share, [(1 - coverage) / 2, (1 + coverage) / 2])
                figures[i] = 100 * (mass[i] @ below) / mass[i].sum(), share.mean(), share.std(), low, high
    columns = ["members_percentile", "organization_percentile", "percentile_sd", "percentile_low", "percentile_high"]
    out = frame[["organization", "n", "mean", "std_error"]].copy()
    out.insert(1, "comparison", label_of)
    out[columns] = figures
    out["band"] = pd.Series([_band(low, high) for low, high in figures[:, 3:]], out.index, dtype=object)
    out["organizations"] = organizations
    out["reason"] = pd.Series(reasons, out.index, dtype=object)
    return out


def _band(low: float, high: float) -> str | None:
    """The band in which an interval of percentiles lies."""
    if np.isnan(low):
        return None
    lower, upper = (next(name for least, name in BANDS if np.round(end) >= least) for end in (low, high))
    return lower if lower == upper else NOT_CLEAR


def _not_comparable(members: np.ndarray) -> str | None:
    if len(members) < FEWEST_ORGANIZATIONS:
        return f"{len(members)} other organizations to compare with; at least {FEWEST_ORGANIZATIONS} are needed"
    if members.max() > LARGEST_SHARE * members.sum():
        return f"one organization has {members.max() / members.sum():.0%} of the members compared with"
    return None


def shrink(mean: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and sds of effects known with error, under N(m, τ²) with m and τ² by maximum likelihood (EM)."""
    if len(mean) < 2:
        return mean.copy(), error.copy()
    m, tau2 = mean.mean(), max(mean.var(), 1e-6)
    for _ in range(500):
        trust = tau2 / (tau2 + error**2)
        center = m + trust * (mean - m)
        m_new, tau2_new = center.mean(), np.mean((center - center.mean()) ** 2 + trust * error**2)
        if abs(m_new - m) + abs(tau2_new - tau2) < 1e-9:
            break
        m, tau2 = m_new, max(tau2_new, 1e-9)
    trust = tau2 / (tau2 + error**2)
    return m + trust * (mean - m), np.sqrt(trust) * error


def _fixed_point(step, x: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """SQUAREM (Varadhan and Roland 2008, S3) without safeguard by likelihood: EM of a normal regression contracts."""
    iterations = 0
    while iterations < MOST_ITERATIONS:
        x1 = step(x)
        x2 = step(x1)
        iterations += 2
        r, v = x1 - x, x2 - 2 * x1 + x
        if np.abs(x2 - x1).max() < 1e-6:
            return x2, iterations, True
        length = np.linalg.norm(r) / max(np.linalg.norm(v), 1e-300)
        length = min(max(length, 1.0), 16.0)
        moved = x + 2 * length * r + length**2 * v
        x = moved if np.abs(moved - x2).max() < 1.0 else x2
    return x, iterations, False
