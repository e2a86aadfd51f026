"""Lasso with a penalty set by theory, computed on Gram matrices, for many regressions at once.

The rows are never seen here: a regression needs the scatter matrix of its columns, and for its loadings one number a
column, which `gram.score_squares` finds for all regressions in one pass. So 80 lassos cost one pass each iteration.

References:
    [1] Belloni, Chen, Chernozhukov and Hansen (2012), Sparse models and methods for optimal instruments, Econometrica
        80, 2369-2429: algorithm A.1 (iterated loadings).
    [2] Belloni, Chernozhukov, Hansen and Kozbur (2016), Inference in high-dimensional panel models, J. Business &
        Economic Statistics 34, 590-605: eq. 2.5 (clustered loadings).
    [3] Chernozhukov, Hansen and Spindler (2016), hdm: High-dimensional metrics, R Journal 8, 185-199: the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

MAX_ITERATIONS = 15
RESIDUAL_TOLERANCE = 1e-5  # change of the residual's standard deviation, the target's being 1
ZERO_THRESHOLD = 1e-6  # smaller standardised coefficients count as zero
START_COLUMNS = 5  # the first residual comes from this many columns, the most correlated ones


def penalty_level(n: int, p: int, *, c: float, gamma: float | None, n_clusters: int | None = None) -> float:
    """Penalty before loadings, ``2 c sqrt(n) Phi^-1(1 - gamma / (2 p))`` ([1] algorithm A.1, [3] section 2).

    ``gamma`` defaults to .1 / log(n), and with clusters to .1 / log(number of clusters), as lassopack has it.
    """
    from scipy.stats import norm

    if gamma is None:
        gamma = 0.1 / np.log(n if n_clusters is None else max(n_clusters, 3))
    return float(2 * c * np.sqrt(n) * norm.ppf(1 - gamma / (2 * p)))


def least_squares(gram: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Coefficients (q,) or (q, r) of least squares from moments gram (q, q), xy (q,) or (q, r).

    They are zero for columns that the columns before them determine.
    """
    from dagster_project.stats.double_lasso import kernels

    coefficients = np.zeros(xy.shape)
    if len(gram):
        factor, kept = kernels.cholesky_skipping(gram, np.diag(gram).copy(), len(gram))
        lower = factor[np.ix_(kept, kept)]
        coefficients[kept] = np.linalg.solve(lower.T, np.linalg.solve(lower, xy[kept]))
    return coefficients


@dataclass
class Rlasso:
    """One lasso of ``target`` on ``columns`` (column numbers of the design) within one sample.

    ``cluster`` is the dimension whose sums make the loadings, None for heteroskedastic ones. After `fit_all`:
    ``coefficients`` (len(columns),) belong to columns and target of standard deviation 1, ``loadings`` are those of
    the last fit on the same scale, ``residual_sd`` is the share of the target's standard deviation that is left.
    """

    sample: int
    target: int
    columns: np.ndarray
    cluster: int | None
    lambda0: float
    n: int
    coefficients: np.ndarray = field(init=False)
    loadings: np.ndarray = field(init=False)
    residual_sd: float = field(init=False, default=1.0)
    iterations: int = field(init=False, default=0)
    converged: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.coefficients = np.zeros(len(self.columns))
        self.loadings = np.zeros(len(self.columns))

    @property
    def selected(self) -> np.ndarray:
        """Column numbers of the design with a non-zero coefficient, ascending."""
        return np.sort(self.columns[self.coefficients != 0])

    def residual_weights(self, scale: np.ndarray) -> np.ndarray:
        """Weights (columns of the design,) that turn a centred row into this regression's residual."""
        weights = np.zeros(len(scale))
        weights[self.columns] = -self.coefficients * scale[self.target] / scale[self.columns]
        weights[self.target] = 1.0
        return weights

    def start(self, correlation: np.ndarray) -> None:
        """First residual: least squares on the columns most correlated with the target ([1] remark on A.1, as hdm)."""
        strength = -np.abs(correlation[self.columns, self.target])
        first = np.argsort(strength, kind="stable")[:START_COLUMNS]
        chosen = self.columns[first]
        self.coefficients[first] = least_squares(correlation[np.ix_(chosen, chosen)], correlation[chosen, self.target])

    def step(self, correlation: np.ndarray, loadings: np.ndarray, post: bool) -> bool:
        """One lasso and refit with the given loadings; True when there is nothing left to iterate.

        Where the columns determine the target, loadings and penalty are rounding errors, and a lasso with these would
        wander among equivalent columns: it ends there, with the coefficients that it has.
        """
        from dagster_project.stats.double_lasso import kernels

        self.loadings = loadings
        self.iterations += 1
        gram = correlation[np.ix_(self.columns, self.columns)]
        xy = correlation[self.columns, self.target]
        left = 1 - 2 * self.coefficients @ xy + self.coefficients @ gram @ self.coefficients
        if left <= kernels.COLLINEAR:
            self.residual_sd = 0.0
            return True
        # hdm halves the penalty of the first post-lasso: the first residual is too large, and so are its loadings
        half = 0.5 if post and self.iterations == 1 else 1.0
        beta, reached = kernels.coordinate_descent(gram, xy, half * self.lambda0 * loadings / self.n)
        self.converged &= reached
        beta[np.abs(beta) < ZERO_THRESHOLD] = 0.0
        support = np.flatnonzero(beta)
        if post:
            beta[support] = least_squares(gram[np.ix_(support, support)], xy[support])
        self.coefficients = beta
        before = self.residual_sd
        explained = 2 * beta @ xy - beta @ gram @ beta
        self.residual_sd = float(np.sqrt(max(1 - explained, 0.0)))
        done = abs(before - self.residual_sd) < RESIDUAL_TOLERANCE or self.iterations == MAX_ITERATIONS
        return len(support) == 0 or done


def fit_all(
    regressions: Sequence[Rlasso],
    correlations: Sequence[np.ndarray],
    scales: Sequence[np.ndarray],
    mean_squares: Callable[[list[tuple[int, int | None, np.ndarray]]], list[np.ndarray]],
    *,
    post: bool,
) -> None:
    """Fit all regressions in step, so that each iteration's loadings take one pass over the rows.

    Args:
        correlations, scales: for each sample, the correlation matrix (m, m) and standard deviations (m,) of the design
        mean_squares: given a list of (sample, cluster, weights (m, r)), returns for each the (columns, r) means of
            squared scores, see `gram.score_squares`
        post: refit by least squares on the support
    """
    active = [regression for regression in regressions if len(regression.columns)]
    for regression in active:
        regression.start(correlations[regression.sample])
    while active:
        groups: dict[tuple[int, int | None], list[Rlasso]] = {}
        for regression in active:
            groups.setdefault((regression.sample, regression.cluster), []).append(regression)
        requests = [
            (sample, cluster, np.column_stack([r.residual_weights(scales[sample]) for r in group]))
            for (sample, cluster), group in groups.items()
        ]
        active = []
        for (sample, _), group, squares in zip(groups, groups.values(), mean_squares(requests), strict=True):
            scale = scales[sample]
            for position, regression in enumerate(group):
                loadings = np.sqrt(squares[regression.columns, position])
                loadings = loadings / (scale[regression.columns] * scale[regression.target])
                if not regression.step(correlations[sample], loadings, post):
                    active.append(regression)
