"""Compiled loops of the many-facet model: marks sorted by learner and hand-in, float64, one thread.

Learner ``n`` owns the hand-ins ``learner_start[n]:learner_start[n + 1]``, hand-in ``h`` the marks
``hand_in_start[h]:hand_in_start[h + 1]``. What a scale says of a distance (quality − effects) stands in tables over an
even grid: ``log_total`` the logarithm of the sum over categories, ``expected`` its first derivative (the expected
category) and ``variance`` its second; between two points of the grid they are continued by those derivatives.
"""

import numpy as np
from numba import njit

from dagster_project.stats.item_response.facet_model import LOWEST, POINTS, SPACING

MOVED = 0.3  # of a posterior, in its sds, from which on its nodes are laid anew


@njit(cache=True, nogil=True)
def _at(distance):
    point = int(np.rint((distance - LOWEST) / SPACING))
    point = min(max(point, 0), POINTS - 1)
    return point, distance - (LOWEST + point * SPACING)


@njit(cache=True, nogil=True)
def expect(
    learner_start, hand_in_start, category, scale, effect, log_total, expected, variance, node, log_weight,
    learner_variance, hand_in_variance, item_variance, site, centre, width, learner_moment, residual, weight, counts,
    scores,
):  # fmt: skip
    """One sweep of expectation propagation over all hand-ins.

    What a hand-in says of its learner is kept as a normal factor, ``site`` (precision, precision × mean). For each
    hand-in its factor is taken out of the learner's, the quality of the hand-in is integrated over its marks by
    Gauss-Hermite nodes around the posterior of the last sweep (``centre``, ``width``), and the factor is replaced. What
    the other hand-ins leave open of the item's difficulty is ``item_variance``, (hand-ins,); ``effect`` has its mean by
    them.

    Writes ``residual`` (category − its expectation) and ``weight`` (expected variance) of each mark, ``counts`` (how
    often each point of the grid is expected, by scale), ``learner_moment`` and ``scores``: sums of the derivatives of
    the log likelihood by the logarithm of each variance, and of their squares: hand-ins, then learners.
    """
    nodes = node.size
    q = np.empty(nodes)
    mass = np.empty(nodes)
    counts[:] = 0.0
    scores[:] = 0.0
    for n in range(learner_start.size - 1):
        first, last = learner_start[n], learner_start[n + 1]
        precision, shift = 1.0 / learner_variance, 0.0
        for h in range(first, last):
            precision += site[h, 0]
            shift += site[h, 1]
        for h in range(first, last):
            rest = precision - site[h, 0]
            mean = (shift - site[h, 1]) / rest
            prior_variance = 1.0 / rest + hand_in_variance + item_variance[h]
            for _ in range(4):
                top = -np.inf
                for k in range(nodes):
                    q[k] = centre[h] + width[h] * node[k]
                    value = log_weight[k] - 0.5 * (q[k] - mean) ** 2 / prior_variance
                    for r in range(hand_in_start[h], hand_in_start[h + 1]):
                        point, off = _at(q[k] - effect[r])
                        s = scale[r]
                        value += category[r] * (q[k] - effect[r]) - (
                            log_total[s, point] + off * (expected[s, point] + 0.5 * off * variance[s, point])
                        )
                    mass[k] = value
                    top = max(top, value)
                total = 0.0
                for k in range(nodes):
                    mass[k] = np.exp(mass[k] - top)
                    total += mass[k]
                first_moment = 0.0
                for k in range(nodes):
                    mass[k] /= total
                    first_moment += mass[k] * q[k]
                second = 0.0
                for k in range(nodes):
                    second += mass[k] * (q[k] - first_moment) ** 2
                second = max(second, 1e-6)
                sd = np.sqrt(second)
                moved = abs(first_moment - centre[h]) > MOVED * width[h] or abs(np.log(sd / width[h])) > MOVED
                centre[h], width[h] = first_moment, sd
                if not moved:
                    break
            for r in range(hand_in_start[h], hand_in_start[h + 1]):
                mean_category, mean_variance = 0.0, 0.0
                s = scale[r]
                for k in range(nodes):
                    point, off = _at(q[k] - effect[r])
                    mean_category += mass[k] * (expected[s, point] + off * variance[s, point])
                    mean_variance += mass[k] * variance[s, point]
                    counts[s, point] += mass[k]
                residual[r] = category[r] - mean_category
                weight[r] = max(mean_variance, 1e-9)
            # The hand-in's own part of its quality, and the learner's, under the normal factors of the others.
            own = hand_in_variance / prior_variance
            own_mean = own * (first_moment - mean)
            own_variance = hand_in_variance * (1.0 - own) + own * own * second
            score = 0.5 * ((own_mean * own_mean + own_variance) / hand_in_variance - 1.0)
            scores[0] += score
            scores[1] += score * score
            learners = 1.0 / (rest * prior_variance)
            new_mean = mean + learners * (first_moment - mean)
            new_variance = (1.0 / rest) * (1.0 - learners) + learners * learners * second
            new_precision = max(1.0 / new_variance - rest, 0.0)
            new_shift = new_mean / new_variance - mean * rest
            precision += new_precision - site[h, 0]
            shift += new_shift - site[h, 1]
            site[h, 0], site[h, 1] = new_precision, new_shift
        learner_moment[n, 0], learner_moment[n, 1] = shift / precision, 1.0 / precision
        score = 0.5 * ((learner_moment[n, 0] ** 2 + learner_moment[n, 1]) / learner_variance - 1.0)
        scores[2] += score
        scores[3] += score * score


@njit(cache=True, nogil=True)
def information_times(
    learner_start, hand_in_start, item, cell, grader, weight, learner_variance, hand_in_variance, of_item, of_cell,
    of_grader, out_item, out_cell, out_grader,
):  # fmt: skip
    """Observed information of the effects times vectors: X'V⁻¹X, with V = 1/weight + hand-in + learner variances.

    Vectors are columns of ``of_…`` (effects, vectors); results are added to ``out_…``.
    """
    columns = of_item.shape[1]
    most = 0
    for n in range(learner_start.size - 1):
        most = max(most, hand_in_start[learner_start[n + 1]] - hand_in_start[learner_start[n]])
    value = np.empty((most, columns))
    inner = np.empty(columns)
    outer = np.empty(columns)
    for n in range(learner_start.size - 1):
        begin = hand_in_start[learner_start[n]]
        outer[:] = 0.0
        total = 0.0
        for h in range(learner_start[n], learner_start[n + 1]):
            inner[:] = 0.0
            mass = 0.0
            for r in range(hand_in_start[h], hand_in_start[h + 1]):
                w = weight[r]
                mass += w
                for c in range(columns):
                    y = of_item[item[r], c] + of_cell[cell[r], c]
                    if grader[r] >= 0:
                        y += of_grader[grader[r], c]
                    value[r - begin, c] = y
                    inner[c] += w * y
            shrink = 1.0 / (1.0 + hand_in_variance * mass)
            total += mass * shrink
            for c in range(columns):
                outer[c] += inner[c] * shrink
                for r in range(hand_in_start[h], hand_in_start[h + 1]):
                    value[r - begin, c] -= hand_in_variance * shrink * inner[c]
        for c in range(columns):
            outer[c] *= learner_variance / (1.0 + learner_variance * total)
        for h in range(learner_start[n], learner_start[n + 1]):
            mass = 0.0
            for r in range(hand_in_start[h], hand_in_start[h + 1]):
                mass += weight[r]
            shrink = 1.0 / (1.0 + hand_in_variance * mass)
            for r in range(hand_in_start[h], hand_in_start[h + 1]):
                for c in range(columns):
                    y = weight[r] * (value[r - begin, c] - shrink * outer[c])
                    out_item[item[r], c] += y
                    out_cell[cell[r], c] += y
                    if grader[r] >= 0:
                        out_grader[grader[r], c] += y
