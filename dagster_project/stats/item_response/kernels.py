"""Compiled loops of the item response models: one thread, sparse rows, float64.

Layout shared by all kernels: responses are sorted by person, and person ``j`` owns ``row[start[j]:start[j + 1]]``. A
*row* is one item in one category, so that item ``i`` with ``m`` steps owns rows ``row_start[i] … row_start[i] + m`` and
every table with a value per row and quadrature node has shape (rows, nodes). A response then costs two vector
additions: its row of log probabilities goes into the person's log likelihood, the person's posterior goes into its row
of expected counts.

Number of nodes: padded to a multiple of eight with nodes of no prior mass (``IMPOSSIBLE``), so that the inner loops
fill whole vector registers.

Windows: normal prior × logistic likelihood is log-concave in ability, hence once the posterior has fallen by
``e**-CUT`` from its maximum at the edge of a window, everything outside is smaller still. Kernels that are called
repeatedly work on each person's window of the previous call and go back to all nodes whenever the edge does not prove
that the window holds everything. The truncation error of a person's likelihood is below nodes × exp(-27), about 1e-10.
"""

import numpy as np
from numba import njit

from dagster_project.stats.item_response.quadrature import LANES

CUT = 27.0
POLYNOMIALS = 4  # of a narrow posterior
MORE_POLYNOMIALS = 8  # of one that is still wide
WIDE = 40  # answers below which a posterior counts as wide

# Sums may be reordered (vector registers); infinities and NaN keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, fastmath=_FAST)
def _posterior(first, last, row, log_probability, log_prior, low, high, weight):
    """Posterior of one person into ``weight[low:high]``; returns low, high, log likelihood.

    ``low`` and ``high`` come back wider when the given window was too narrow.
    """
    nodes = log_prior.size
    while True:
        w = weight[low:high]
        prior = log_prior[low:high]
        for q in range(w.size):
            w[q] = prior[q]
        for t in range(first, last):
            values = log_probability[row[t], low:high]
            for q in range(w.size):
                w[q] += values[q]
        top = w[0]
        for q in range(w.size):
            top = max(top, w[q])
        if (low > 0 and w[0] > top - CUT) or (high < nodes and w[w.size - 1] > top - CUT):
            low, high = 0, nodes
            continue
        return low, high, top + np.log(normalize(w, top))


@njit(cache=True, nogil=True, fastmath=_FAST)
def normalize(weight, top):
    """Turn log weights, ``top`` the largest, into weights that sum to 1; returns the sum that they had over e**top."""
    total = 0.0
    for q in range(weight.size):
        weight[q] = np.exp(weight[q] - top)
        total += weight[q]
    for q in range(weight.size):
        weight[q] /= total
    return total


@njit(cache=True, nogil=True)
def next_window(weight, left, right):
    """Ends of what lies above the cut between ``left`` and ``right``, with two nodes of slack, in whole lanes."""
    nodes = weight.size
    threshold = np.exp(-CUT)
    while weight[left] < threshold:
        left += 1
    right -= 1
    while weight[right] < threshold:
        right -= 1
    left = max(0, left - 2)
    right = min(nodes, right + 3)
    width = (right - left + LANES - 1) // LANES * LANES
    left = max(0, min(left, nodes - width))
    return left, min(left + width, nodes)


@njit(cache=True, nogil=True, fastmath=_FAST)
def expected_counts(start, row, group, log_probability, log_prior, node, low, high, counts, group_counts):
    """E-step: expected number of persons by row and node, and by group and node.

    Writes ``counts`` (rows, nodes), ``group_counts`` (groups, nodes) and the windows ``low``, ``high`` (persons,).
    Returns the marginal log likelihood and the smallest posterior variance among persons with an answer.
    """
    counts[:] = 0.0
    group_counts[:] = 0.0
    weight = np.empty(node.size)
    log_likelihood = 0.0
    smallest = np.inf
    for j in range(start.size - 1):
        g = group[j]
        a, b, value = _posterior(
            start[j], start[j + 1], row, log_probability, log_prior[g], np.int64(low[j]), np.int64(high[j]), weight
        )
        log_likelihood += value
        w = weight[a:b]
        for t in range(start[j], start[j + 1]):
            target = counts[row[t], a:b]
            for q in range(w.size):
                target[q] += w[q]
        target = group_counts[g, a:b]
        x = node[a:b]
        mean = 0.0
        square = 0.0
        for q in range(w.size):
            target[q] += w[q]
            mean += w[q] * x[q]
            square += w[q] * x[q] * x[q]
        if start[j + 1] > start[j]:
            smallest = min(smallest, square - mean * mean)
        low[j], high[j] = next_window(weight, a, b)
    return log_likelihood, smallest


@njit(cache=True, nogil=True, fastmath=_FAST)
def posterior_moments(start, row, group, log_probability, log_prior, node, mean, sd):
    """Posterior mean and sd of every person, into ``mean`` and ``sd`` (persons,); returns the log likelihood."""
    weight = np.empty(node.size)
    log_likelihood = 0.0
    for j in range(start.size - 1):
        _, _, value = _posterior(
            start[j], start[j + 1], row, log_probability, log_prior[group[j]], 0, node.size, weight
        )
        log_likelihood += value
        m = 0.0
        for q in range(node.size):
            m += weight[q] * node[q]
        v = 0.0
        for q in range(node.size):
            v += weight[q] * (node[q] - m) ** 2
        mean[j] = m
        sd[j] = np.sqrt(v)
    return log_likelihood


@njit(cache=True, nogil=True, fastmath=_FAST)
def likelihoods(start, row, log_probability, out):
    """Likelihood of every person at every node, largest value 1, into ``out`` (persons, unpadded nodes), float32."""
    nodes = out.shape[1]
    w = np.empty(log_probability.shape[1])
    for j in range(start.size - 1):
        w[:] = 0.0
        for t in range(start[j], start[j + 1]):
            values = log_probability[row[t]]
            for q in range(w.size):
                w[q] += values[q]
        top = w[0]
        for q in range(nodes):
            top = max(top, w[q])
        for q in range(nodes):
            out[j, q] = np.exp(w[q] - top)


@njit(cache=True, nogil=True, fastmath=_FAST)
def posterior_score_covariance(
    start, row, group, log_probability, log_prior, node, below, above, slot, step_below, step_above, group_slot,
    group_mean, group_sd, low, high, out,
):  # fmt: skip
    """Sum over persons of the posterior covariance of their complete-data scores, added to ``out``.

    Louis (1982), eq. 3.1: the observed information is the complete-data information minus this. A person's score is a
    smooth function of ability; expanded in the polynomials orthonormal under the person's posterior, its covariance is
    a sum of outer products of coefficients: four terms for a narrow posterior, eight for a wide one.

    Every pair of parameters that belong together is a *slot*: (slope, step), (slope, further step) or (group mean,
    group sd), and ``out`` has shape (slots, slots, 4), because four neighbours are one vector register. ``slot[r]`` is
    the first slot of the item of row r (-1: nothing of it is estimated), ``step_below[r]`` and ``step_above[r]`` count
    its steps from there (-1: none). Each pair of slots is added once, on either side of the diagonal; the first step's
    slot has the slope.
    """
    nodes = node.size
    weight = np.empty(nodes)
    longest = 0
    for j in range(start.size - 1):
        longest = max(longest, start[j + 1] - start[j])
    index = np.empty(3 * longest + 1, np.uint32)
    first = np.empty((MORE_POLYNOMIALS, 3 * longest + 1))
    second = np.empty((MORE_POLYNOMIALS, 3 * longest + 1))
    products = np.empty((3 * longest + 1, 4))
    basis = np.empty((MORE_POLYNOMIALS, nodes))
    for j in range(start.size - 1):
        g = group[j]
        a, b, _ = _posterior(
            start[j], start[j + 1], row, log_probability, log_prior[g], np.int64(low[j]), np.int64(high[j]), weight
        )
        w = weight[a:b]
        x = node[a:b]
        terms = MORE_POLYNOMIALS if start[j + 1] - start[j] < WIDE else POLYNOMIALS
        _orthonormal(w, x, basis[:terms], a)
        n = 0
        for t in range(start[j], start[j + 1]):
            r = row[t]
            if slot[r] < 0:
                continue
            lower = below[r, a:b]
            upper = above[r, a:b]
            d = step_below[r]
            u = step_above[r]
            # The slope goes into the item's first slot; so does a first step, which is all a binary item has.
            extra = (d > 0) + (u > 0)
            index[n] = slot[r]
            if d > 0:
                index[n + 1] = slot[r] + d
            if u > 0:
                index[n + extra] = slot[r] + u
            for k in range(terms):
                p = basis[k, a:b]
                by_logit = 0.0
                by_slope = 0.0
                for q in range(p.size):
                    value = p[q] * (lower[q] + upper[q])
                    by_logit += value
                    by_slope += x[q] * value
                by_below = by_logit if d >= 0 else 0.0
                if d >= 0 and u >= 0:
                    by_below = 0.0
                    for q in range(p.size):
                        by_below += p[q] * lower[q]
                by_above = by_logit - by_below
                first[k, n] = by_slope
                second[k, n] = (by_below if d == 0 else 0.0) + (by_above if u == 0 else 0.0)
                if d > 0:
                    first[k, n + 1] = 0.0
                    second[k, n + 1] = by_below
                if u > 0:
                    first[k, n + extra] = 0.0
                    second[k, n + extra] = by_above
            n += 1 + extra
        if group_slot[g] >= 0:
            index[n] = group_slot[g]
            for k in range(terms):
                by_mean = 0.0
                by_sd = 0.0
                for q in range(x.size):
                    z = (x[q] - group_mean[g]) / group_sd[g]
                    by_mean += basis[k, a + q] * z
                    by_sd += basis[k, a + q] * (z * z - 1.0)
                first[k, n] = by_mean / group_sd[g]
                second[k, n] = by_sd / group_sd[g]
            n += 1
        for k in range(0, terms, POLYNOMIALS):
            _add_outer_products(n, index, first[k:], second[k:], products, out)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _add_outer_products(n, index, first, second, products, out):
    """Add (first, second) × (first, second) of every pair of the first ``n`` positions to ``out``.

    Sums over the POLYNOMIALS = 4 rows, written out for the compiler; ``products`` is scratch.
    """
    f0, f1, f2, f3 = first[0], first[1], first[2], first[3]
    s0, s1, s2, s3 = second[0], second[1], second[2], second[3]
    for r in range(n):
        a0, a1, a2, a3 = f0[r], f1[r], f2[r], f3[r]
        b0, b1, b2, b3 = s0[r], s1[r], s2[r], s3[r]
        for s in range(r, n):
            products[s, 0] = a0 * f0[s] + a1 * f1[s] + a2 * f2[s] + a3 * f3[s]
            products[s, 1] = a0 * s0[s] + a1 * s1[s] + a2 * s2[s] + a3 * s3[s]
            products[s, 2] = b0 * f0[s] + b1 * f1[s] + b2 * f2[s] + b3 * f3[s]
            products[s, 3] = b0 * s0[s] + b1 * s1[s] + b2 * s2[s] + b3 * s3[s]
        target = out[index[r]]
        for s in range(r, n):
            k = index[s]
            target[k, 0] += products[s, 0]
            target[k, 1] += products[s, 1]
            target[k, 2] += products[s, 2]
            target[k, 3] += products[s, 3]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _orthonormal(weight, node, basis, at):
    """Polynomials of degree 1, 2, … orthonormal under ``weight``, times the weight (Stieltjes procedure).

    Into ``basis[:, at:]``.
    """
    nodes = node.size
    previous = np.zeros(nodes)
    current = np.ones(nodes)
    beta = 0.0
    for k in range(basis.shape[0]):
        alpha = 0.0
        for q in range(nodes):
            alpha += weight[q] * node[q] * current[q] * current[q]
        norm = 0.0
        for q in range(nodes):
            value = (node[q] - alpha) * current[q] - beta * previous[q]
            previous[q] = current[q]
            current[q] = value
            norm += weight[q] * value * value
        norm = np.sqrt(norm)
        if norm < 1e-10:
            basis[k:, at : at + nodes] = 0.0
            return
        beta = norm
        for q in range(nodes):
            current[q] /= norm
            basis[k, at + q] = weight[q] * current[q]


@njit(cache=True, nogil=True, fastmath=_FAST)
def shift_derivatives(start, row, group, used, prior, row_item, ratio, first, second, score, information):
    """Derivatives of the marginal log likelihood by an intercept shift of one item in one group, added up.

    ``used`` (rows, nodes) and ``prior`` (groups, nodes) make the posterior. By group, row and node: ``ratio`` is P with
    the shift over the P in ``used``, ``first`` and ``second`` are that times d log P / d shift and times (d² P / d
    shift²) / P. Into ``score`` and observed ``information`` (items, groups).
    """
    weight = np.empty(used.shape[1])
    for j in range(start.size - 1):
        g = group[j]
        _posterior(start[j], start[j + 1], row, used, prior[g], 0, weight.size, weight)
        for t in range(start[j], start[j + 1]):
            r = row[t]
            a = 0.0
            b = 0.0
            c = 0.0
            for q in range(weight.size):
                a += weight[q] * ratio[g, r, q]
                b += weight[q] * first[g, r, q]
                c += weight[q] * second[g, r, q]
            score[row_item[r], g] += b / a
            information[row_item[r], g] += (b / a) ** 2 - c / a


@njit(cache=True, nogil=True, fastmath=_FAST)
def moments_under_normal_priors(likelihood, node, prior_mean, prior_sd, mean, variance, weight):
    """Posterior mean and variance by person; the posterior itself too if ``weight`` has room for it."""
    nodes = node.size
    w = np.empty(nodes)
    for j in range(mean.size):
        total = 0.0
        first = 0.0
        second = 0.0
        for q in range(nodes):
            z = (node[q] - prior_mean[j]) / prior_sd[j]
            w[q] = likelihood[j, q] * np.exp(-0.5 * z * z)
            total += w[q]
            first += w[q] * node[q]
            second += w[q] * node[q] * node[q]
        if total > 0:
            mean[j] = first / total
            variance[j] = max(second / total - mean[j] ** 2, 0.0)
        else:  # likelihood and prior do not overlap in floating point
            mean[j] = prior_mean[j]
            variance[j] = prior_sd[j] ** 2
        if weight.size:
            for q in range(nodes):
                weight[j, q] = w[q] / total if total > 0 else 1.0 / nodes


@njit(cache=True, nogil=True)
def residual_sums_of_pairs(
    start, row, ability, row_item, category, slope, step, step_start, quiz, within, sizes, base, sums
):  # fmt: skip
    """n, Σx, Σy, Σx², Σy², Σxy of the residuals of item pairs within a quiz, added to ``sums`` (pairs, 6)."""
    for j in range(start.size - 1):
        n = start[j + 1] - start[j]
        residual = np.empty(n)
        for t in range(n):
            i = row_item[row[start[j] + t]]
            expected = 0.0
            for k in range(step_start[i], step_start[i + 1]):
                expected += 1.0 / (1.0 + np.exp(-(slope[i] * ability[j] + step[k])))
            residual[t] = category[row[start[j] + t]] - expected
        for t in range(n):
            i = row_item[row[start[j] + t]]
            if quiz[i] < 0:
                continue
            for u in range(n):
                k = row_item[row[start[j] + u]]
                if quiz[k] == quiz[i] and within[k] > within[i]:
                    at = base[quiz[i]] + within[i] * sizes[quiz[i]] + within[k]
                    sums[at, 0] += 1.0
                    sums[at, 1] += residual[t]
                    sums[at, 2] += residual[u]
                    sums[at, 3] += residual[t] ** 2
                    sums[at, 4] += residual[u] ** 2
                    sums[at, 5] += residual[t] * residual[u]
