"""Compiled loops of the double lasso: coordinate descent, Cholesky factors, sums by code. One thread, float64.

References:
    [1] Friedman, Hastie and Tibshirani (2010), J. Statistical Software 33(1), section 2.2: covariance updates.
"""

import numpy as np
from numba import njit

COLLINEAR = 1e-10  # share of a column's variance that the columns before it must leave
SWEEP_TOLERANCE = 1e-10
MAX_SWEEPS = 100_000
IDENTIFIED = 1e-8  # share of the driver's variance that must be left when a cluster is deleted


@njit(cache=True)
def _sweep(gram, gradient, threshold, beta, only_active):
    """One round of coordinate descent; returns the largest change of a coefficient."""
    largest = 0.0
    for j in range(beta.size):
        old = beta[j]
        if only_active and old == 0.0:
            continue
        pull = gradient[j] + gram[j, j] * old
        if pull > threshold[j]:
            new = (pull - threshold[j]) / gram[j, j]
        elif pull < -threshold[j]:
            new = (pull + threshold[j]) / gram[j, j]
        else:
            new = 0.0
        if new != old:
            beta[j] = new
            step = new - old
            for i in range(beta.size):
                gradient[i] -= step * gram[i, j]
            largest = max(largest, abs(step))
    return largest


@njit(cache=True)
def coordinate_descent(gram, xy, penalty):
    """Minimise ``1 - 2 b'xy + b'gram b + sum(penalty |b|)``, the lasso in terms of moments ([1]).

    Parameters: gram (p, p) with a positive diagonal, xy (p,), penalty (p,). Returns b (p,) and whether it converged.
    """
    beta = np.zeros(xy.size)
    gradient = xy.copy()
    threshold = penalty / 2
    only_active = False
    for _ in range(MAX_SWEEPS):
        change = _sweep(gram, gradient, threshold, beta, only_active)
        if change < SWEEP_TOLERANCE and not only_active:
            return beta, True
        only_active = change >= SWEEP_TOLERANCE
    return beta, False


@njit(cache=True, fastmath={"reassoc", "contract"})
def cholesky_skipping(matrix, sizes, columns):
    """Lower Cholesky factor (q, q) of a positive semi-definite matrix, and which columns were kept.

    Of the first ``columns`` columns those that the columns before them determine become zero, as R's lm drops them;
    ``sizes`` (q,) are the diagonal entries that count as large.
    """
    q = matrix.shape[0]
    factor = np.zeros((q, q))
    kept = np.zeros(q, dtype=np.bool_)
    for j in range(q):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= factor[j, k] * factor[j, k]
        if j < columns and pivot <= COLLINEAR * sizes[j]:
            continue
        kept[j] = True
        root = np.sqrt(max(pivot, 0.0))
        factor[j, j] = root
        if root == 0.0:
            continue
        for i in range(j + 1, q):
            value = matrix[i, j]
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = value / root
    return factor, kept


@njit(cache=True)
def leave_one_out(total, scatter, cell_cluster, rows_left, cell_sums):
    """`inference.leave_one_out`, with the rows that are left in each cell."""
    clusters, q = scatter.shape[0], total.shape[0]
    sizes = np.diag(total).copy()
    left = np.empty_like(scatter)
    for g in range(clusters):
        left[g] = total - scatter[g]
    # the groups that lose rows get new means
    for cell in range(cell_cluster.size):
        if rows_left[cell] > 0:
            g = cell_cluster[cell]
            for i in range(q):
                for j in range(q):
                    left[g, i, j] -= cell_sums[cell, i] * cell_sums[cell, j] / rows_left[cell]
    slopes = np.empty(clusters)
    for g in range(clusters):
        factor, _ = cholesky_skipping(left[g], sizes, q - 2)
        driver = factor[q - 2, q - 2]
        slopes[g] = factor[q - 1, q - 2] / driver if driver * driver > IDENTIFIED * sizes[q - 2] else np.nan
    return slopes


@njit(cache=True)
def add_by_code(out, codes, values):
    """out[j, codes[i]] += values[j, i]."""
    for j in range(values.shape[0]):
        for i in range(codes.size):
            out[j, codes[i]] += values[j, i]


@njit(cache=True)
def centre(values, codes, means):
    """values[j, i] - means[j, codes[i]]."""
    out = np.empty_like(values)
    for j in range(values.shape[0]):
        for i in range(codes.size):
            out[j, i] = values[j, i] - means[j, codes[i]]
    return out


@njit(cache=True)
def add_squared_products(out, z, e, starts):
    """out[j, r] += sum over segments of (sum over the segment's rows of z[j, i] e[r, i]) squared."""
    p, regressions = z.shape[0], e.shape[0]
    row = np.empty(regressions)
    for s in range(starts.size - 1):
        a, b = starts[s], starts[s + 1]
        turned = e[:, a:b].T.copy()
        for j in range(p):
            row[:] = 0.0
            for i in range(a, b):
                factor = z[j, i]
                if factor != 0.0:
                    for r in range(regressions):
                        row[r] += factor * turned[i - a, r]
            for r in range(regressions):
                out[j, r] += row[r] * row[r]
