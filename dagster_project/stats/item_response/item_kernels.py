"""Compiled loops over items: logistic curves, their derivatives, and the M-step. One thread, float64.

Tables have the rows of `kernels`: one for each item and category, item by item.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _logistic(z):
    if z >= 0:
        return 1.0 / (1.0 + np.exp(-z))
    e = np.exp(z)
    return e / (1.0 + e)


@njit(cache=True, nogil=True)
def _log_logistic(z):
    return -np.log1p(np.exp(-z)) if z >= 0 else z - np.log1p(np.exp(z))


@njit(cache=True, nogil=True)
def _log_category(slope, steps, category, ability):
    """Logarithm of P(category) in the graded model with cumulative logits slope·ability + step; one step: the 2PL."""
    if category == steps.size:
        return _log_logistic(slope * ability + steps[category - 1])
    if category == 0:
        return _log_logistic(-(slope * ability + steps[0]))
    upper = slope * ability + steps[category - 1]
    lower = slope * ability + steps[category]
    if lower >= upper:
        return -np.inf
    # F(u) - F(l) = F(u) F(-l) (1 - exp(l - u)): no cancellation however far out the ability lies.
    return _log_logistic(upper) + _log_logistic(-lower) + np.log(-np.expm1(lower - upper))


@njit(cache=True, nogil=True)
def category_log_probabilities(slope, step, step_start, node, valid, out):
    """Logarithms of P by row and node into ``out`` (rows, nodes); ``valid`` real nodes, zeros in the padding."""
    out[:] = 0.0
    for i in range(slope.size):
        steps = step[step_start[i] : step_start[i + 1]]
        for c in range(steps.size + 1):
            r = step_start[i] + i + c
            for q in range(valid):
                out[r, q] = max(_log_category(slope[i], steps, c, node[q]), -1e10)


@njit(cache=True, nogil=True)
def category_scores(slope, step, step_start, node, valid, below, above):
    """Derivatives of log P by the cumulative logit of the step below a category and of the step above it.

    Into ``below`` and ``above`` (rows, nodes), zeros in the padding. With cumulative probabilities F, category c has
    below = F_c (1 - F_c) / P_c and above = -F_{c+1} (1 - F_{c+1}) / P_c; by the slope: ability × (below + above).
    """
    below[:] = 0.0
    above[:] = 0.0
    for i in range(slope.size):
        steps = step[step_start[i] : step_start[i + 1]]
        for c in range(steps.size + 1):
            r = step_start[i] + i + c
            for q in range(valid):
                log_p = _log_category(slope[i], steps, c, node[q])
                if c > 0:
                    below[r, q] = np.exp(_log_density(slope[i] * node[q] + steps[c - 1]) - log_p)
                if c < steps.size:
                    above[r, q] = -np.exp(_log_density(slope[i] * node[q] + steps[c]) - log_p)


@njit(cache=True, nogil=True)
def _log_density(z):
    """Logarithm of F(z)(1 - F(z)) for the logistic F."""
    z = abs(z)
    return -z - 2.0 * np.log1p(np.exp(-z))


@njit(cache=True, nogil=True)
def _item_derivatives(slope, steps, counts, node, gradient, hessian):
    """Expected complete-data log likelihood of one item with its derivatives by (slope, steps).

    ``counts`` has shape (steps + 1, nodes or more).
    """
    gradient[:] = 0.0
    hessian[:] = 0.0
    value = 0.0
    m = steps.size
    for q in range(node.size):
        x = node[q]
        for c in range(m + 1):
            n = counts[c, q]
            if n <= 0.0:
                continue
            log_p = _log_category(slope, steps, c, x)
            value += n * log_p
            if not np.isfinite(value):
                return -np.inf
            d1 = d2 = h1 = h2 = 0.0
            if c > 0:
                f = _logistic(slope * x + steps[c - 1])
                d1 = np.exp(_log_density(slope * x + steps[c - 1]) - log_p)
                h1 = d1 * (1.0 - 2.0 * f) - d1 * d1
            if c < m:
                f = _logistic(slope * x + steps[c])
                d2 = -np.exp(_log_density(slope * x + steps[c]) - log_p)
                h2 = d2 * (1.0 - 2.0 * f) - d2 * d2
            h12 = -d1 * d2
            gradient[0] += n * x * (d1 + d2)
            hessian[0, 0] += n * x * x * (h1 + h2 + 2.0 * h12)
            if c > 0:
                gradient[c] += n * d1
                hessian[c, c] += n * h1
                hessian[0, c] += n * x * (h1 + h12)
            if c < m:
                gradient[c + 1] += n * d2
                hessian[c + 1, c + 1] += n * h2
                hessian[0, c + 1] += n * x * (h2 + h12)
            if c > 0 and c < m:
                hessian[c, c + 1] += n * h12
    for k in range(m + 1):
        for before in range(k):
            hessian[k, before] = hessian[before, k]
    return value


@njit(cache=True, nogil=True)
def _add_prior(slope, steps, prior, value, gradient, hessian):
    """Normal priors: ``prior`` = slope mean, slope sd, step mean, step sd; an infinite sd is no prior."""
    precision = 1.0 / (prior[1] * prior[1])
    value -= 0.5 * precision * (slope - prior[0]) ** 2
    gradient[0] -= precision * (slope - prior[0])
    hessian[0, 0] -= precision
    precision = 1.0 / (prior[3] * prior[3])
    for k in range(steps.size):
        value -= 0.5 * precision * (steps[k] - prior[2]) ** 2
        gradient[k + 1] -= precision * (steps[k] - prior[2])
        hessian[k + 1, k + 1] -= precision
    return value


@njit(cache=True, nogil=True)
def item_derivatives(slope, step, step_start, prior, counts, node, gradient, hessian):
    """Derivatives of every item's expected log likelihood and prior: gradient (items, k), hessian (items, k, k)."""
    for i in range(slope.size):
        k = step_start[i + 1] - step_start[i] + 1
        r = step_start[i] + i
        steps = step[step_start[i] : step_start[i + 1]]
        value = _item_derivatives(slope[i], steps, counts[r : r + k], node, gradient[i, :k], hessian[i, :k, :k])
        _add_prior(slope[i], steps, prior[i], value, gradient[i, :k], hessian[i, :k, :k])


@njit(cache=True, nogil=True)
def _newton_change(hessian, gradient, first, work, change):
    """Solve -hessian · change = gradient for the parameters from ``first`` on, by elimination; the others stay."""
    k = gradient.size
    for r in range(k):
        change[r] = gradient[r] if r >= first else 0.0
        for c in range(k):
            work[r, c] = -hessian[r, c]
    for pivot in range(first, k):
        for r in range(pivot + 1, k):
            ratio = work[r, pivot] / work[pivot, pivot]
            change[r] -= ratio * change[pivot]
            for c in range(pivot, k):
                work[r, c] -= ratio * work[pivot, c]
    for r in range(k - 1, first - 1, -1):
        for c in range(r + 1, k):
            change[r] -= work[r, c] * change[c]
        change[r] /= work[r, r]


@njit(cache=True, nogil=True)
def maximize_items(slope, step, step_start, free_slope, free_step, prior, counts, node, largest_slope):
    """M-step: a few guarded Newton steps on each item's concave expected log likelihood; in place."""
    widest = 1
    for i in range(slope.size):
        widest = max(widest, step_start[i + 1] - step_start[i] + 1)
    # Of the current point and of the trial.
    gradients = np.empty((2, widest))
    hessians = np.empty((2, widest, widest))
    work = np.empty((widest, widest))
    changes = np.empty(widest)
    olds = np.empty(widest)
    for i in range(slope.size):
        if not free_step[i]:
            continue
        k = step_start[i + 1] - step_start[i] + 1
        r = step_start[i] + i
        steps = step[step_start[i] : step_start[i + 1]]
        change = changes[:k]
        first = 0 if free_slope[i] else 1
        now = 0
        value = 0.0
        for attempt in range(6):
            shorten = 1.0
            # Attempt 0 evaluates the start; every later one takes a Newton step, halved until it does not lose.
            largest = 0.0
            if attempt > 0:
                _newton_change(hessians[now, :k, :k], gradients[now, :k], first, work, change)
                for c in range(k):
                    largest = max(largest, abs(change[c]))
                if not largest < np.inf:
                    break
                shorten = min(1.0, 2.0 / max(largest, 1e-300))
                olds[0] = slope[i]
                olds[1:k] = steps
            improved = False
            for _ in range(12):
                if attempt > 0:
                    slope[i] = min(max(olds[0] + shorten * change[0], -largest_slope), largest_slope)
                    for c in range(k - 1):
                        steps[c] = olds[c + 1] + shorten * change[c + 1]
                gradient = gradients[1 - now, :k]
                hessian = hessians[1 - now, :k, :k]
                trial = _item_derivatives(slope[i], steps, counts[r : r + k], node, gradient, hessian)
                trial = _add_prior(slope[i], steps, prior[i], trial, gradient, hessian)
                if attempt == 0 or trial >= value - 1e-12 * abs(value):
                    improved = True
                    break
                shorten *= 0.5
            if not improved:
                slope[i] = olds[0]
                steps[:] = olds[1:k]
                break
            now = 1 - now
            value = trial
            if attempt > 0 and largest < 1e-4:
                break
