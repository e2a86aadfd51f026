"""Standard errors, p-values and sensitivity of a final regression, from sums that `gram.final_sums` collects.

Everything works on moments of ``[selected controls, driver, outcome]``, the last two columns in this order.

References:
    [1] Cameron, Gelbach and Miller (2011), Robust inference with multiway clustering, J. Business & Economic Statistics
        29, 238-249: eq. 2.11 and section 2.3.
    [2] MacKinnon, Nielsen and Webb (2023), Fast and reliable jackknife and bootstrap methods for cluster-robust
        inference, J. Applied Econometrics 38, 671-694: eq. 14 (CV3) and section 4 (wild bootstrap from cluster sums).
    [3] Benjamini and Hochberg (1995), J. Royal Statistical Society B 57, 289-300.
    [4] Romano and Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing, J. American
        Statistical Association 100, 94-108: algorithm 1.
    [5] Chernozhukov, Chetverikov and Kato (2013), Annals of Statistics 41, 2786-2819: Gaussian multipliers.
    [6] Cinelli and Hazlett (2020), Making sense of sensitivity, J. Royal Statistical Society B 82, 39-67: section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dagster_project.stats.double_lasso.gram import ClusterCounts, ClusterGrams

DRAWN_NUMBERS = 2**23  # t-values of all tests that are drawn at a time
WILD_NUMBERS = 2**23  # signs, and scores of clusters under them, that are held at a time


def cluster_degrees(counts: ClusterCounts, groups: int) -> int:
    """Degrees of freedom of t: clusters minus absorbed groups where clusters lie inside groups, else clusters minus 1.

    A driver fixed within clusters that lie inside the groups varies between the clusters of a group only.
    """
    if counts.inside_groups and counts.clusters > groups:
        return counts.clusters - groups
    return counts.clusters - 1


def cluster_factor(n: int, coefficients: int, clusters: int) -> float:
    """Small-sample factor ``G / (G - 1) (n - 1) / (n - k)``, as Stata and pyfixest have it."""
    return clusters / (clusters - 1) * (n - 1) / (n - coefficients)


def leave_one_out(total: np.ndarray, grams: ClusterGrams, group_rows: np.ndarray) -> np.ndarray:
    """The driver's coefficient without each cluster in turn, absorbed means refitted; nan where it has none.

    ``total`` (q, q) is the scatter of all rows, ``group_rows`` (g,) the size of the absorbed groups.
    """
    from dagster_project.stats.double_lasso import kernels

    rows_left = group_rows[grams.cell_group] - grams.cell_rows
    return kernels.leave_one_out(total, grams.scatter, grams.cell_cluster, rows_left, grams.cell_sums)


def jackknife_variance(slopes: np.ndarray, effect: float) -> float:
    """Delete-one-cluster jackknife ``(G - 1) / G sum (slope_g - effect)^2``, CV3 of [2]."""
    return float((len(slopes) - 1) / len(slopes) * np.sum((slopes - effect) ** 2))


class WildBootstrap:
    """Wild cluster bootstrap of "no effect", null imposed, Rademacher signs (WCR-C of [2]), from clusters in parts.

    ``total`` (q, q) is the scatter of all rows. Only sums by cluster are held, (clusters, q).
    """

    def __init__(self, total: np.ndarray) -> None:
        from dagster_project.stats.double_lasso import kernels

        q = total.shape[0]
        factor, kept = kernels.cholesky_skipping(total, np.diag(total).copy(), q - 2)
        self.regressors = np.flatnonzero(kept[: q - 1])
        controls = self.regressors[:-1]
        lower = factor[np.ix_(self.regressors, self.regressors)]
        inverse = np.linalg.inv(lower)
        self.inverse = inverse.T @ inverse
        self.driver = np.zeros(q)  # weights of the driver given the controls
        self.driver[self.regressors] = self.inverse[-1] / self.inverse[-1, -1]
        self.driver_squares = 1 / self.inverse[-1, -1]
        self.restricted, self.full = np.zeros(q), np.zeros(q)
        self.restricted[-1] = self.full[-1] = 1.0
        if len(controls):
            self.restricted[controls] = -np.linalg.solve(total[np.ix_(controls, controls)], total[controls, -1])
        self.full[self.regressors] = -self.inverse @ total[self.regressors, -1]
        self.effect = self.driver @ total @ self.restricted / self.driver_squares
        self.parts: list[tuple[np.ndarray, ...]] = []

    def add(self, grams: ClusterGrams) -> None:
        """Take in clusters: their scatter and sums of the columns of ``total``."""
        crossed = np.einsum("q,gqr->gr", self.driver, grams.scatter)
        before = sum(len(part[0]) for part in self.parts)
        self.parts.append(
            (
                grams.scatter @ self.restricted,
                (grams.scatter @ self.full) @ self.driver,
                crossed[:, self.regressors],
                grams.cell_cluster + before,
                grams.cell_group,
                grams.cell_sums @ self.driver,
                grams.cell_sums @ self.restricted,
            )
        )

    def p_value(self, group_rows: np.ndarray, *, draws: int, seed: int) -> float:
        """All sign vectors are taken if there are at most ``draws`` of them; ``group_rows`` (g,) of absorbed groups."""
        scores, observed, crossed, cluster, group, by_driver, by_residual = (
            np.concatenate(part) for part in zip(*self.parts, strict=True)
        )
        clusters = len(scores)
        # the absorbed means of the new outcome: signs differ between the clusters of a group
        shape = (clusters, len(group_rows))
        driver_sums, residual_sums = np.zeros(shape), np.zeros(shape)
        driver_sums[cluster, group], residual_sums[cluster, group] = by_driver, by_residual
        found = _t_square(self.effect, observed, self.driver_squares)
        every = 2**clusters if clusters < 60 else np.inf
        rng, larger, count = np.random.default_rng(seed), 0, int(min(every, draws))
        for first in range(0, count, chunk := max(1, WILD_NUMBERS // clusters)):
            size = min(chunk, count - first)
            if every <= draws:
                signs = 1.0 - 2.0 * ((np.arange(first, first + size)[:, None] >> np.arange(clusters)) & 1)
            else:
                signs = rng.choice([-1.0, 1.0], size=(size, clusters))
            effects = signs @ (scores @ self.driver) / self.driver_squares
            coefficients = signs @ scores[:, self.regressors] @ self.inverse
            means = signs @ residual_sums / np.maximum(group_rows, 1)
            new_scores = signs * (scores @ self.driver) - means @ driver_sums.T
            new_scores -= coefficients @ crossed.T
            larger += np.count_nonzero(_t_square(effects, new_scores, self.driver_squares) >= found * (1 - 1e-10))
        return larger / count


def _t_square(effect: np.ndarray, scores: np.ndarray, driver_squares: float) -> np.ndarray:
    return np.square(effect) * driver_squares**2 / np.sum(np.square(scores), axis=-1)


def p_value(effect: float, std_error: float, degrees: float) -> float:
    """Two-sided p-value; t, or normal for infinite degrees of freedom."""
    from scipy import stats

    return float(2 * stats.t.sf(abs(effect) / std_error, degrees))


def interval(effect: float, std_error: float, degrees: float, level: float) -> tuple[float, float]:
    """Confidence interval by Student's t with these degrees of freedom, infinite ones for the normal."""
    from scipy import stats

    half = float(stats.t.ppf(0.5 + level / 2, degrees)) * std_error
    return effect - half, effect + half


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """False-discovery-rate q-values (J,) of p-values (J,), the step-up procedure of [3] section 3."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="fdr_bh")[1] if len(p_values) else np.zeros(0)


def romano_wolf(
    p_values: np.ndarray,
    degrees: np.ndarray,
    correlation: np.ndarray | Sequence[np.ndarray],
    *,
    draws: int,
    seed: int,
) -> np.ndarray:
    """Step-down p-values (J,) that hold the family-wise error ([4]).

    The joint law of the t-values is drawn as a multivariate t with the scores' correlation (J, J) ([5]), or with those
    of groups of tests that share no rows, one group after the other. ``degrees`` (J,) may be infinite; a common factor
    within a group makes each margin a t of its own degrees.
    """
    from scipy import stats

    rng = np.random.default_rng(seed)
    blocks = [correlation] if isinstance(correlation, np.ndarray) else list(correlation)
    roots = [_root(block) for block in blocks if len(block)]
    order = np.argsort(p_values, kind="stable")
    smaller = np.zeros(len(p_values), dtype=np.int64)
    for first in range(0, draws, chunk := max(1, DRAWN_NUMBERS // max(len(p_values), 1))):
        size = min(chunk, draws - first)
        parts, start = [], 0
        for root in roots:
            drawn, of_block = (
                np.abs(rng.standard_normal((size, len(root))) @ root.T),
                degrees[start : start + len(root)],
            )
            level = rng.random(size)
            for value in np.unique(of_block):
                same = of_block == value
                if np.isfinite(value):
                    drawn[:, same] /= np.sqrt(stats.chi2.ppf(level, value) / value)[:, None]
                drawn[:, same] = 2 * stats.t.sf(drawn[:, same], value)
            parts.append(drawn)
            start += len(root)
        drawn = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        smallest = np.minimum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]
        smaller += np.sum(smallest <= p_values[order], axis=0)
    # never below the plain p-value, which carries no simulation error
    found = np.maximum((1 + smaller) / (draws + 1), p_values[order])
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(found)
    return adjusted


def _root(correlation: np.ndarray) -> np.ndarray:
    """Symmetric square root, its rows of length 1."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    # two-way correlations need not be positive definite; the symmetric root moves little when its argument does
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root / np.sqrt(np.sum(root**2, axis=1, keepdims=True))


def robustness_value(partial_r2: float) -> float:
    """Share of the residual variance of driver and outcome that a confounder must explain to take away the effect.

    [6] eq. 19 with q = 1. ``partial_r2`` is the driver's with the outcome.
    """
    f2 = partial_r2 / max(1 - partial_r2, 1e-300)
    return float((np.sqrt(f2**2 + 4 * f2) - f2) / 2)


def robustness_of_bound(robustness: float, effect: float, bound: float) -> float:
    """The same for bringing not the effect but a bound of its interval to zero; 0 if the interval holds zero.

    [6] section 4.2, with the interval's own standard error.
    """
    if not bound * effect > 0:
        return 0.0
    f2 = robustness**2 / (1 - robustness) * (bound / effect) ** 2  # eq. 19 solved for the effect's partial f2
    return float((np.sqrt(f2**2 + 4 * f2) - f2) / 2)


def equal_strength(with_driver: float, with_outcome: float) -> float:
    """Partial R2 with driver and outcome alike of a confounder that biases as much as one with these two.

    Comparable with a robustness value ([6] eq. 13 and 19).
    """
    squared = with_outcome * with_driver / max(1 - with_driver, 1e-300)
    return float((np.sqrt(squared**2 + 4 * squared) - squared) / 2)


def share_hidden_by_twin(robustness: float, with_driver: float, with_outcome: float) -> float:
    """Share of the effect that would vanish if there were an unseen confounder as strong as an observed control.

    ``with_driver`` and ``with_outcome`` are the control's partial R2 (`strongest_control`); [6] section 4.4 with
    k = 1. Infinite if such a confounder would determine the driver.
    """
    if with_driver >= 0.5:
        return np.inf
    driver_r2 = with_driver / (1 - with_driver)
    crossed = with_driver**2 / ((1 - with_driver) * (1 - with_driver))
    outcome_r2 = ((1 + np.sqrt(crossed)) / np.sqrt(1 - crossed)) ** 2 * with_outcome / (1 - with_outcome)
    f2 = robustness**2 / (1 - robustness)
    return float(np.sqrt(min(outcome_r2, 1.0) * driver_r2 / (1 - driver_r2) / f2)) if f2 > 0 else np.inf


def strongest_control(total: np.ndarray) -> tuple[int, float, float] | None:
    """The control that would confound most if it were left out: the largest smaller one of its two partial R2.

    Returns:
        Its position and its partial R2 with the driver (given the other controls) and with the outcome (given driver
        and other controls), the benchmarks of [6] section 4.4; None where there is no control.
    """
    if total.shape[0] < 3:
        return None
    with_driver = _squared_partial_correlations(total[:-1, :-1])
    with_outcome = _squared_partial_correlations(total)[:-1]
    position = int(np.argmax(np.minimum(with_driver, with_outcome)))
    return position, float(with_driver[position]), float(with_outcome[position])


def _squared_partial_correlations(total: np.ndarray) -> np.ndarray:
    """Of the last column with each control, given all other columns; controls are all but the last one or two."""
    scale = np.sqrt(np.diag(total))
    precision = np.linalg.pinv(total / np.outer(scale, scale), hermitian=True)
    return precision[:-1, -1] ** 2 / (np.diag(precision)[:-1] * precision[-1, -1])
