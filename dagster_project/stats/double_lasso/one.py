"""The double lasso of one driver, from arrays.

References:
    [1] Belloni, Chernozhukov and Hansen (2014), Inference on treatment effects after selection among high-dimensional
        controls, Review of Economic Studies 81, 608-650: section 2.3 (double selection), eq. 2.9 onwards.
    [2] Chernozhukov, Hansen and Spindler (2016), hdm: High-dimensional metrics, R Journal 8, 185-199.
    [3] Belloni, Chernozhukov, Hansen and Kozbur (2016), Inference in high-dimensional panel models with an application
        to gun control, J. Business & Economic Statistics 34, 590-605.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import array_design
from dagster_project.stats.double_lasso.estimate import estimate
from dagster_project.stats.double_lasso.task import WHATEVER_COMPUTES, Loadings, Method, Options, StdError, Task


@dataclass(frozen=True)
class DoubleLassoFit:
    """Result of `double_lasso`.

    Attributes:
        effect: change of the outcome, in its units, for one unit of the driver
        std_error: the primary standard error, of the kind ``std_error_kind`` says: "heteroskedastic", "classical",
            "jackknife" (over clusters), "cluster", "two-way", "one-way" (two-way clusters, the larger one-way error)
        std_errors: all that were computed, by kind
        degrees_of_freedom: of t for ``p_value`` and ``conf_int``; infinite without clusters
        selected: column numbers of the selected controls, ascending
        n, n_clusters: rows; clusters (of the smaller dimension; None without)
        n_controls: columns that entered the lassos, without those that are constant or absorbed
        robustness_value: share of the residual variance of both driver and outcome that an unseen confounder would have
            to explain to bring the effect to zero
    """

    effect: float
    std_error: float
    std_error_kind: str
    std_errors: dict[str, float]
    degrees_of_freedom: float
    p_value: float
    selected: np.ndarray
    n: int
    n_clusters: int | None
    n_controls: int
    robustness_value: float

    def conf_int(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the effect, (low, high)."""
        return inference.interval(self.effect, self.std_error, self.degrees_of_freedom, level)

    def summary(self, level: float = 0.95) -> str:
        """The estimate as a table to read, with its interval and every standard error that was computed."""
        low, high = self.conf_int(level)
        degrees = "normal" if np.isinf(self.degrees_of_freedom) else f"t with {self.degrees_of_freedom:,} degrees"
        clusters = "" if self.n_clusters is None else f", {self.n_clusters:,} clusters"
        errors = "\n".join(
            f"{kind + (' *' if kind == self.std_error_kind else ''):<18}{value:>12.6g}"
            for kind, value in self.std_errors.items()
        )
        return (
            f"Double lasso: {self.n:,} rows{clusters}, {len(self.selected):,} of {self.n_controls:,} controls\n"
            f"{'effect':<18}{self.effect:>12.6g}\n"
            f"{f'{100 * level:g} % interval':<18}{low:>12.6g} to {high:.6g}\n"
            f"{'p-value':<18}{self.p_value:>12.4g} ({degrees})\n"
            f"{'robustness value':<18}{self.robustness_value:>12.4g}\n"
            f"standard errors (* behind interval and p-value)\n{errors}"
        )


def double_lasso(
    outcome: np.ndarray,
    driver: np.ndarray,
    controls: np.ndarray,
    *,
    method: Method = "double_selection",
    absorb: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    loadings: Loadings = "cluster",
    std_error: StdError = "jackknife",
    c: float = 1.1,
    gamma: float | None = None,
    post: bool = True,
) -> DoubleLassoFit:
    """Effect of one driver, from arrays.

    Without clusters and absorbed effects the numbers are those of R's ``hdm::rlassoEffect`` [2], with its stopping rule
    applied to variables of standard deviation 1 so that units do not matter.

    Args:
        outcome, driver: arrays (n,)
        controls: array (n, p); p may exceed n
        method: "double_selection" ([1] section 2.3) or "partialling_out" (the outcome's lasso residual on the driver's)
        absorb: array (n,) of group labels whose fixed effects are partialled out of every column, unpenalised
        clusters: array (n,) or (n, 2) of cluster labels. Two ways: sum of both less the intersection, never below the
            larger one-way error.
        loadings: of the lassos: "cluster", by the first column of ``clusters`` ([3]), or "heteroskedastic"; without
            clusters they are heteroskedastic. [1] as published has these together with clustered errors.
        std_error: for one column of ``clusters``: "jackknife" leaves each out in turn, up to 10,000 of them (above, and
            for two columns, it is the sandwich), or "cluster", the sandwich
        c, gamma: constants of the penalty, see `rlasso.penalty_level`
        post: refit each lasso by least squares on its support

    Raises:
        ValueError: shapes differ, values are missing or infinite, or the effect cannot be estimated; the message has
            the reason.
    """
    outcome, driver = _vector(outcome, "outcome"), _vector(driver, "driver")
    controls = np.asarray(controls, dtype=np.float64)
    n = len(outcome)
    if controls.ndim != 2 or len(controls) != n or len(driver) != n:
        raise ValueError(
            f"outcome {outcome.shape}, driver {driver.shape} and controls {controls.shape} must have the same rows."
        )
    if not np.isfinite(controls).all():
        bad = np.flatnonzero(~np.isfinite(controls).all(axis=0))
        raise ValueError(f"controls: columns {bad.tolist()[:10]} hold missing or infinite values.")
    labels = [] if clusters is None else list(np.asarray(clusters).reshape(n, -1).T)
    if len(labels) > 2:
        raise ValueError(f"clusters: one or two columns were expected, found {len(labels)}.")
    groups = None if absorb is None else np.asarray(absorb).reshape(n)
    is_jackknife = std_error == "jackknife" and len(labels) == 1
    design = array_design(outcome, driver, controls, groups, labels, jackknife=is_jackknife)
    p = controls.shape[1]
    task = Task("driver", p, 0, np.arange(p), np.array([], dtype=np.int64), tuple(range(len(labels))))
    options = Options(method, c, gamma, post, WHATEVER_COMPUTES, loadings, std_error)
    estimate(design, p + 1, [task], options)
    if task.reason:
        raise ValueError(f"The effect is not estimable: {task.reason}.")
    return DoubleLassoFit(
        effect=task.effect,
        std_error=task.std_error,
        std_error_kind=task.kind,
        std_errors=task.std_errors,
        degrees_of_freedom=task.degrees,
        p_value=inference.p_value(task.effect, task.std_error, task.degrees),
        selected=task.selected,
        n=task.n,
        n_clusters=task.n_clusters,
        n_controls=task.n_controls,
        robustness_value=task.robustness_value,
    )


def _vector(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name}: an array (n,) was expected, found shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {int((~np.isfinite(values)).sum()):,} values are missing or infinite.")
    return values
