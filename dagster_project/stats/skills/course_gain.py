"""What a course adds to an ability, net of regression to the mean.

Learners who take a course and score again look better for three reasons: what they learned, that a low first score is
partly bad luck, and the other courses they took meanwhile. A gain is therefore the change of those who completed the
course minus that of others of equal ability before, equal exposure and the same other courses, with ability taken as a
latent variable measured by different questions before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.abilities import AbilityLikelihood
from dagster_project.stats.item_response.organizations import shrink

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

FEWEST_TAKERS = 30
SMALLEST_VARIANCE = 1e-3
LARGEST_ERROR_VARIANCE = 25.0  # a measurement worse than this says nothing
TOLERANCE = 1e-7  # largest derivative of the mean log likelihood at its maximum


def occasions(person, course, day, completed_person, completed_course, completed_day, *, apart=60, within=365):
    """Pairs of occasions before and after: who answered when, and which courses were completed between.

    The answers of a course count from the day of the learner's first one in it; answers in it more than ``apart`` days
    after the last one are another sitting. Sittings that begin within ``apart`` days of each other, with no completion
    between, are one occasion; consecutive occasions that begin within ``within`` days are a pair.

    Args:
        person, course, day (arrays of shape (responses,)): whole numbers; ``day`` in days.
        completed_person, completed_course, completed_day: arrays of shape (completions,)

    Returns:
        occasion (array of shape (responses,)): number of the occasion that each answer belongs to.
        pairs: frame: person, before, after (occasions), gap_days
        completed: frame: pair (row of ``pairs``), course
    """
    import pandas as pd

    answers = pd.DataFrame({"person": np.asarray(person), "course": np.asarray(course), "day": np.asarray(day)})
    answers = answers.sort_values(["person", "course", "day"], kind="stable")
    opens = (answers[["person", "course"]].diff().ne(0).any(axis=1)) | (answers["day"].diff() > apart)
    sitting = (opens.cumsum() - 1).reindex(np.arange(len(answers))).to_numpy()
    units = answers[opens].reset_index(drop=True)
    order = units.sort_values(["person", "day", "course"], kind="stable").index
    units = units.loc[order].reset_index(drop=True)
    done = pd.DataFrame(
        {
            "person": np.asarray(completed_person),
            "course": np.asarray(completed_course),
            "day": np.asarray(completed_day),
        }
    ).sort_values(["person", "day", "course"], ignore_index=True)
    # Completions up to the beginning of each unit, by one sort of both: a completion on the day itself counts.
    span = 1 + int(max(units["day"].max(), done["day"].max() if len(done) else 0))
    so_far = np.searchsorted(
        done["person"].to_numpy(np.int64) * span + done["day"].to_numpy(np.int64),
        units["person"].to_numpy(np.int64) * span + units["day"].to_numpy(np.int64),
        side="right",
    )
    same = np.r_[False, units["person"].to_numpy()[1:] == units["person"].to_numpy()[:-1]]
    wait = np.r_[0, np.diff(units["day"].to_numpy())]
    begins = ~same | (np.r_[0, np.diff(so_far)] > 0) | (wait > apart)
    number = np.cumsum(begins) - 1
    of_unit = np.empty(len(units), np.int64)
    of_unit[order] = number
    occasion = of_unit[sitting]

    first = np.flatnonzero(begins)
    start = units["day"].to_numpy()[first]
    who = units["person"].to_numpy()[first]
    is_pair = (who[1:] == who[:-1]) & (np.diff(start) <= within)
    before = np.flatnonzero(is_pair)
    pairs = pd.DataFrame(
        {"person": who[before], "before": before, "after": before + 1, "gap_days": np.diff(start)[before]}
    )
    # Completed after the last unit of the first occasion began, and by the day the second one begins.
    low, high = so_far[first[before + 1] - 1], so_far[first[before + 1]]
    size = high - low
    row = np.repeat(np.arange(len(pairs)), size)
    position = np.repeat(low, size) + np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    completed = pd.DataFrame({"pair": row, "course": done["course"].to_numpy()[position]}).drop_duplicates()
    return occasion, pairs, completed


@dataclass(frozen=True)
class CourseGains:
    """Gains by course.

    Attributes:
        courses (frame: course, takers, naive, naive_se, gain, gain_se, shrunken_gain, shrunken_se): ``takers``: pairs
            with the course completed between. ``naive``: their mean change of score. ``gain`` and its error: missing
            below 30 takers. ``shrunken_gain``: posterior under a normal distribution of courses' gains, for rankings.
        carry_over: coefficient of ability before
        change: mean change of those who completed nothing, at the mean exposure
        change_sd: sd of ability after given ability before
        pairs: number of pairs
        iterations, converged: evaluations of the likelihood, and whether its maximum was reached
        reason: why no course has a gain; None: at least one has
    """

    courses: pd.DataFrame
    carry_over: float
    change: float
    change_sd: float
    pairs: int
    iterations: int
    converged: bool
    reason: str | None = None


def course_gains(
    before: AbilityLikelihood,
    after: AbilityLikelihood,
    pair,
    course,
    person,
    *,
    exposure=None,
    calibration_variance=None,
    fewest=FEWEST_TAKERS,
) -> CourseGains:
    """Gain of each course from pairs of measurements, by a regression between latent abilities.

    θ_before = z'α + e, θ_after = b θ_before + z'g + u, z the courses completed between and exposure, both normal. Each
    likelihood enters as the normal density that gives the same posterior mean and variance under the fitted prior (an
    expectation-propagation site, refreshed once), so that abilities are integrated out exactly: the limit of infinitely
    many plausible values drawn with everything known about the learner (Mislevy 1991), with none of their noise. Who
    takes a course may depend on ability, but not on the luck of the answers before: courses given out by a score need
    that score's answers left out. Maximum likelihood; errors of gains from generalized least squares given the
    variances, clustered by learner.

    Args:
        before, after: one row per pair, in the same order, from disjoint questions.
        pair, course (arrays of shape (completions,)): which pair (row number) completed which course between.
        person (array of shape (pairs,)): whose pair it is: several of one learner are not independent.
        exposure (array of shape (pairs, k), optional): what else the change may depend on, for instance the number of
            questions before and after and the time between.
        calibration_variance (series, course → variance, optional): variance of the change that errors in the questions'
            parameters make for all takers of a course alike.
        fewest: courses with fewer takers share one coefficient and get no gain of their own.

    Raises:
        ValueError: shapes that do not fit.
    """
    import pandas as pd
    from scipy.sparse import csr_array, hstack

    n = len(before.persons)
    person = np.asarray(person)
    if len(after.persons) != n or len(person) != n:
        raise ValueError(
            f"{n} pairs before, {len(after.persons)} after, {len(person)} persons; expected the same number"
        )
    code, labels = pd.factorize(np.asarray(course), sort=True)
    pair = np.asarray(pair, np.int64)
    takers = np.bincount(code, minlength=len(labels))
    own = np.flatnonzero(takers >= fewest)
    gain, gain_se = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    if not len(own):
        reason = (
            f"no course was completed by {fewest} learners who answered before and after it"
            if len(pair)
            else "nobody answered before and after completing a course"
        )
        frame = _frame(labels, takers, *_naive(before, after, pair, code, len(labels)), gain, gain_se)
        return CourseGains(frame, np.nan, np.nan, np.nan, n, 0, False, reason)
    x = np.empty((n, 0)) if exposure is None else np.asarray(exposure, float).reshape(n, -1)
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    column = np.full(len(labels), len(own))
    column[own] = np.arange(len(own))
    rest = bool((column[code] == len(own)).any())  # the courses with too few takers
    taken = csr_array((np.ones(len(pair)), (pair, column[code])), shape=(n, len(own) + rest))
    z = csr_array(hstack([csr_array(np.hstack([np.ones((n, 1)), x])), taken]))
    if n <= 2 * z.shape[1]:
        frame = _frame(labels, takers, *_naive(before, after, pair, code, len(labels)), gain, gain_se)
        reason = f"{n} learners with answers before and after are too few for {len(labels)} courses"
        return CourseGains(frame, np.nan, np.nan, np.nan, n, 0, False, reason)

    sites = [_site(likelihood, np.zeros(n), np.ones(n)) for likelihood in (before, after)]
    squares = _squares(z)
    fit = None
    for _ in range(2):
        fit = _maximum_likelihood(sites, z, squares, fit)
        prior = _conditional_priors(sites, z, fit)
        sites = [_site(likelihood, *p) for likelihood, p in zip((before, after), prior, strict=True)]
    fit = _maximum_likelihood(sites, z, squares, fit)
    covariance = _gain_errors(sites, z, squares, fit, person)
    first = 1 + x.shape[1]
    gain[own] = fit.g[first : first + len(own)]
    gain_se[own] = np.sqrt(covariance.diagonal())[first : first + len(own)]
    if calibration_variance is not None:
        gain_se = np.sqrt(gain_se**2 + pd.Series(calibration_variance).reindex(labels).fillna(0.0).to_numpy())
    frame = _frame(labels, takers, *_naive(before, after, pair, code, len(labels)), gain, gain_se)
    return CourseGains(
        frame,
        carry_over=float(fit.b),
        change=float(fit.g[0] + (fit.b - 1) * fit.alpha[0]),
        change_sd=float(np.sqrt(fit.after_variance)),
        pairs=n,
        iterations=fit.iterations,
        converged=fit.converged,
    )


@dataclass
class _Fit:
    alpha: np.ndarray
    before_variance: float
    b: float
    g: np.ndarray
    after_variance: float
    iterations: int = 0
    converged: bool = False


def _maximum_likelihood(sites, z: csr_array, squares: csr_array, start: _Fit | None) -> _Fit:
    """Variances and carry-over by quasi-Newton on the likelihood with the coefficients at their least squares."""
    from scipy.optimize import minimize

    begin = start or _Fit(np.zeros(z.shape[1]), 1.0, 1.0, np.zeros(z.shape[1]), 0.25)

    def fit(x) -> _Fit:
        return replace(begin, b=x[0], before_variance=np.exp(x[1]), after_variance=np.exp(x[2]))

    def loss(x):
        """Minus the mean log likelihood and its gradient by carry-over and the logarithms of both variances."""
        trial = fit(x)
        b, v1, v2 = trial.b, trial.before_variance, trial.after_variance
        estimate, (w11, w12, w22), determinant = _least_squares(sites, z, squares, trial)
        p = z.shape[1]
        e1, e2 = sites[0][0] - z @ estimate[:p], sites[1][0] - z @ estimate[p:]
        u1, u2 = w11 * e1 + w12 * e2, w12 * e1 + w22 * e2
        value = 0.5 * np.mean(np.log(determinant) + e1 * u1 + e2 * u2)
        by_b = v1 * np.mean(w12 + b * w22 - u1 * u2 - b * u2**2)
        by_v1 = 0.5 * np.mean(w11 + 2 * b * w12 + b**2 * w22 - (u1 + b * u2) ** 2)
        by_v2 = 0.5 * np.mean(w22 - u2**2)
        return value, np.array([by_b, v1 * by_v1, v2 * by_v2])

    low = np.log(SMALLEST_VARIANCE)
    x0 = [begin.b, np.log(begin.before_variance), np.log(begin.after_variance)]
    found = minimize(
        loss,
        x0,
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None), (low, None), (low, None)],
        options={"gtol": TOLERANCE, "ftol": 1e-14},
    )
    best = fit(found.x)
    estimate, _, _ = _least_squares(sites, z, squares, best)
    alpha, beta = np.split(estimate, 2)
    return replace(
        best,
        alpha=alpha,
        g=beta - best.b * alpha,
        iterations=begin.iterations + found.nfev,
        converged=bool(found.success),
    )


def _weights(sites, fit: _Fit):
    """Inverse covariance of both measurements by pair (first, mixed, second), and the covariance's determinant."""
    (_, r1), (_, r2) = sites
    v11 = fit.before_variance + r1
    v12 = np.full_like(v11, fit.b * fit.before_variance)
    v22 = fit.b**2 * fit.before_variance + fit.after_variance + r2
    determinant = v11 * v22 - v12**2
    return (v22 / determinant, -v12 / determinant, v11 / determinant), determinant


def _information(z: csr_array, squares: csr_array, weights) -> np.ndarray:
    """Information of the coefficients (α, β) of the means z α before and z β after."""
    p = z.shape[1]
    first, mixed, second = ((squares @ weight).reshape(p, p) for weight in weights)
    return np.block([[first, mixed], [mixed, second]])


def _least_squares(sites, z: csr_array, squares: csr_array, fit: _Fit):
    """Generalized least squares of both equations given variances and b: (α, β), weights and determinants."""
    (y1, _), (y2, _) = sites
    weights, determinant = _weights(sites, fit)
    information = _information(z, squares, weights)
    information[np.diag_indices(len(information))] += 1e-8
    w11, w12, w22 = weights
    rhs = np.concatenate([z.T @ (w11 * y1 + w12 * y2), z.T @ (w12 * y1 + w22 * y2)])
    return np.linalg.solve(information, rhs), weights, determinant


def _squares(z: csr_array) -> csr_array:
    """Shape (p², n): times weights by row it gives z' diag(weights) z, row after row."""
    from scipy.sparse import csr_array

    n, p = z.shape
    size = np.diff(z.indptr)
    row = np.repeat(np.arange(n), size)
    first = np.repeat(np.arange(len(row)), size[row])
    begin = np.cumsum(size[row]) - size[row]
    second = np.arange(len(first)) - np.repeat(begin - z.indptr[row], size[row])
    cell = z.indices[first].astype(np.int64) * p + z.indices[second]
    return csr_array((z.data[first] * z.data[second], (cell, row[first])), shape=(p * p, n))


def _posterior(y1, r1, y2, r2, m1, m2, fit: _Fit):
    """Posterior means and covariances of both abilities, given both measurements."""
    # Precision of (θ1, θ2): of the measurements, of θ1's prior and of θ2 given θ1.
    t = 1.0 / fit.after_variance
    a = 1.0 / r1 + 1.0 / fit.before_variance + fit.b**2 * t
    c = 1.0 / r2 + t
    off = -fit.b * t
    determinant = a * c - off**2
    v11, v22, v12 = c / determinant, a / determinant, -off / determinant
    h1 = y1 / r1 + m1 / fit.before_variance - fit.b * t * m2
    h2 = y2 / r2 + t * m2
    return (v11 * h1 + v12 * h2, v12 * h1 + v22 * h2), (v11, v12, v22)


def _conditional_priors(sites, z, fit: _Fit):
    """Prior of each ability given the other's measurement: where the site of the likelihood has to fit."""
    (y1, r1), (y2, r2) = sites
    m1, m2 = z @ fit.alpha, z @ fit.g
    out = []
    for which in (0, 1):
        blind = (np.full_like(r1, 1e9), r2) if which == 0 else (r1, np.full_like(r2, 1e9))
        (e1, e2), (v11, _, v22) = _posterior(y1, blind[0], y2, blind[1], m1, m2, fit)
        out.append((e1, np.sqrt(v11)) if which == 0 else (e2, np.sqrt(v22)))
    return out


def _site(likelihood: AbilityLikelihood, mean: np.ndarray, sd: np.ndarray):
    """Normal density (centre, variance) that gives the posterior's mean and variance under a normal prior."""
    m, s = likelihood.posterior(mean, sd).moments()
    precision = 1.0 / np.maximum(s, 1e-3) ** 2 - 1.0 / sd**2
    precision = np.maximum(precision, 1.0 / LARGEST_ERROR_VARIANCE)
    center = (m * (precision + 1.0 / sd**2) - mean / sd**2) / precision
    return center, 1.0 / precision


def _gain_errors(sites, z: csr_array, squares: csr_array, fit: _Fit, person) -> np.ndarray:
    """Covariance of g given variances and b, clustered by person."""
    import pandas as pd
    from scipy.sparse import csr_array, diags_array, hstack

    (y1, _), (y2, _) = sites
    p = z.shape[1]
    weights, _ = _weights(sites, fit)
    w11, w12, w22 = weights
    bread = np.linalg.pinv(_information(z, squares, weights), hermitian=True)
    e1, e2 = y1 - z @ fit.alpha, y2 - z @ (fit.g + fit.b * fit.alpha)
    code, _ = pd.factorize(person)
    clusters = int(code.max()) + 1
    of_person = csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(clusters, len(code)))
    scores = [diags_array(w11 * e1 + w12 * e2) @ z, diags_array(w12 * e1 + w22 * e2) @ z]
    clustered = of_person @ csr_array(hstack(scores))
    meat = (clustered.T @ clustered).toarray() * clusters / max(clusters - 1, 1)
    covariance = bread @ meat @ bread
    pick = np.hstack([-fit.b * np.eye(p), np.eye(p)])
    return pick @ covariance @ pick.T


def _naive(before, after, pair, code, courses) -> tuple[np.ndarray, np.ndarray]:
    """Mean difference of the two scores (EAP under one prior) of a course's takers, and its error."""
    change = after.posterior().moments()[0] - before.posterior().moments()[0]
    n = np.maximum(np.bincount(code, minlength=courses), 1)
    mean = np.bincount(code, change[pair], courses) / n
    variance = np.bincount(code, (change[pair] - mean[code]) ** 2, courses) / np.maximum(n - 1, 1)
    return mean, np.sqrt(variance / n)


def _frame(labels, takers, naive, naive_se, gain, gain_se) -> pd.DataFrame:
    import pandas as pd

    shrunken, shrunken_se = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    known = np.isfinite(gain)
    if known.sum() >= 2:
        shrunken[known], shrunken_se[known] = shrink(gain[known], gain_se[known])
    return pd.DataFrame(
        {
            "course": labels,
            "takers": takers,
            "naive": naive,
            "naive_se": naive_se,
            "gain": gain,
            "gain_se": gain_se,
            "shrunken_gain": shrunken,
            "shrunken_se": shrunken_se,
        }
    )
