"""Compiled loops of the item response models: one thread, sparse rows, float64.

Layout shared by all kernels
----------------------------
Responses are sorted by person: person ``j`` owns ``row[start[j]:start[j + 1]]``. A *row* is one item in one category,
so that item ``i`` with ``m`` steps owns rows ``row_start[i] … row_start[i] + m`` and every table with a value per row
and quadrature node has shape (rows, nodes). A response then costs two vector additions: its row of log probabilities
goes into the person's log likelihood, the person's posterior goes into its row of expected counts.

Number of nodes: padded to a multiple of eight with nodes of no prior mass (``IMPOSSIBLE``), so that the inner loops
fill whole vector registers.

Windows: normal prior × logistic likelihood is log-concave in ability, hence once the posterior has fallen by
``e**-CUT`` from its maximum at the edge of a window, everything outside is smaller still. Kernels that are called
repeatedly work on each person's window of the previous call and go back to all nodes whenever the edge does not prove
that the window holds everything. The truncation error of a person's likelihood is below nodes × exp(-27), about 1e-10.
"""

import numpy as np
from numba import njit

CUT = 27.0
IMPOSSIBLE = -1e30
LANES = 8
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
        total = 0.0
        for q in range(w.size):
            w[q] = np.exp(w[q] - top)
            total += w[q]
        for q in range(w.size):
            w[q] /= total
        return low, high, top + np.log(total)


@njit(cache=True, nogil=True, fastmath=_FAST)
def expected_counts(start, row, group, log_probability, log_prior, node, low, high, counts, group_counts):
    """E-step: expected number of persons by row and node, and by group and node.

    Writes ``counts`` (rows, nodes), ``group_counts`` (groups, nodes) and the windows ``low``, ``high`` (persons,).
    Returns the marginal log likelihood and the smallest posterior variance among persons with an answer.
    """
    counts[:] = 0.0
    group_counts[:] = 0.0
    nodes = node.size
    weight = np.empty(nodes)
    log_likelihood = 0.0
    smallest = np.inf
    threshold = np.exp(-CUT)
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
        # The next window: what is above the cut, two nodes of slack, a whole number of lanes.
        left = a
        while weight[left] < threshold:
            left += 1
        right = b - 1
        while weight[right] < threshold:
            right -= 1
        left = max(0, left - 2)
        right = min(nodes, right + 3)
        width = (right - left + LANES - 1) // LANES * LANES
        left = min(left, nodes - width)
        low[j] = left
        high[j] = left + width
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
    """log P(category) of the graded model with cumulative logits slope·ability + step; one step: the 2PL."""
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
    """log P by row and node into ``out`` (rows, nodes); ``valid`` real nodes, zeros in the padding."""
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
    """log F(z)(1 - F(z)) of the logistic F."""
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
