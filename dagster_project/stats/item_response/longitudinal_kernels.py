"""Compiled loops of the longitudinal model: abilities that move by known steps between a person's answers.

Answers are sorted by person and day; rows are those of `kernels`, one for each item and category. An answer is given
with the ability θ + offset: θ of the person, the offset of the answer. ``place`` and ``share`` say where the offset
lies on a grid of ``PHASES`` steps a node spacing: log probabilities are taken from step ``place`` with weight 1 -
``share`` and from the next one with ``share`` (error below slope² × step² / 32). Tables have shape (phases, rows, nodes
and room for the offsets), so that the log probabilities of an answer at all nodes lie behind each other.
"""

import numpy as np
from numba import njit

from dagster_project.stats.item_response.kernels import CUT, next_window, normalize
from dagster_project.stats.item_response.moved_tables import PHASES

_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True)
def offsets(start, before, done_start, done, gain, out):
    """Sum of the gains of what was completed before each answer, into ``out`` (answers,)."""
    for j in range(start.size - 1):
        total = 0.0
        counted = 0
        for t in range(start[j], start[j + 1]):
            while counted < before[t]:
                total += gain[done[done_start[j] + counted]]
                counted += 1
            out[t] = total


@njit(cache=True, nogil=True)
def to_last(start, done_start, done, gain, last, out):
    """Turn offsets from the first answer into offsets from what ``last`` completions make, in place."""
    for j in range(start.size - 1):
        total = 0.0
        for d in range(last[j]):
            total += gain[done[done_start[j] + d]]
        for t in range(start[j], start[j + 1]):
            out[t] -= total


@njit(cache=True, nogil=True, fastmath=_FAST)
def _add_answers(first, last, row, place, share, table, low, weight):
    """Add the log probabilities of answers ``first`` to ``last`` at the nodes from ``low`` on."""
    for t in range(first, last):
        k = place[t]
        f = share[t]
        values = table[k % PHASES, row[t], low + k // PHASES : low + k // PHASES + weight.size]
        for q in range(weight.size):
            weight[q] += (1.0 - f) * values[q]
        if f > 0.0:
            k += 1
            values = table[k % PHASES, row[t], low + k // PHASES : low + k // PHASES + weight.size]
            for q in range(weight.size):
                weight[q] += f * values[q]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _posterior(first, last, row, place, share, table, mean, sd, node, low, high, weight):
    """Posterior of one person into ``weight[low:high]``; returns low, high, log likelihood, as in `kernels`."""
    nodes = node.size
    precision = 0.5 / (sd * sd)
    while True:
        w = weight[low:high]
        x = node[low:high]
        for q in range(w.size):
            w[q] = -precision * (x[q] - mean) ** 2
        _add_answers(first, last, row, place, share, table, low, w)
        top = w[0]
        for q in range(w.size):
            top = max(top, w[q])
        if (low > 0 and w[0] > top - CUT) or (high < nodes and w[w.size - 1] > top - CUT):
            low, high = 0, nodes
            continue
        return low, high, top + np.log(normalize(w, top)) - np.log(sd)


@njit(cache=True, nogil=True, fastmath=_FAST)
def expect(
    start, row, place, share, table, score, prior_mean, prior_sd, node, low, high, counts, mean, variance, scores
):  # fmt: skip
    """E-step at the given priors, (persons,) each.

    Writes expected answers by row and ability into ``counts`` (as ``table``), posterior ``mean`` and ``variance`` by
    person, and by answer the posterior mean of ``score``, the derivative of log P by ability. Returns the marginal log
    likelihood, up to a constant of the grid.
    """
    counts[:] = 0.0
    weight = np.empty(node.size)
    log_likelihood = 0.0
    for j in range(start.size - 1):
        a, b, value = _posterior(
            start[j], start[j + 1], row, place, share, table, prior_mean[j], prior_sd[j], node,
            np.int64(low[j]), np.int64(high[j]), weight,
        )  # fmt: skip
        log_likelihood += value
        w = weight[a:b]
        for t in range(start[j], start[j + 1]):
            k = place[t]
            f = share[t]
            target = counts[k % PHASES, row[t], a + k // PHASES : b + k // PHASES]
            s = score[k % PHASES, row[t], a + k // PHASES : b + k // PHASES]
            first = 0.0
            for q in range(w.size):
                target[q] += (1.0 - f) * w[q]
                first += w[q] * s[q]
            first *= 1.0 - f
            if f > 0.0:
                k += 1
                target = counts[k % PHASES, row[t], a + k // PHASES : b + k // PHASES]
                s = score[k % PHASES, row[t], a + k // PHASES : b + k // PHASES]
                second = 0.0
                for q in range(w.size):
                    target[q] += f * w[q]
                    second += w[q] * s[q]
                first += f * second
            scores[t] = first
        x = node[a:b]
        m = 0.0
        square = 0.0
        for q in range(w.size):
            m += w[q] * x[q]
            square += w[q] * x[q] * x[q]
        mean[j] = m
        variance[j] = max(square - m * m, 1e-8)
        low[j], high[j] = next_window(weight, a, b)
    return log_likelihood


@njit(cache=True, nogil=True)
def at_mean(start, row, place, share, table, mean, node, out):
    """Value of a table for each answer at its person's ``mean`` (persons,), into ``out`` (answers,)."""
    spacing = node[1] - node[0]
    top = table.shape[2] * PHASES - 2
    for j in range(start.size - 1):
        position = (mean[j] - node[0]) / spacing * PHASES
        for t in range(start[j], start[j + 1]):
            at = min(max(position + place[t] + share[t], 0.0), float(top))
            k = int(at)
            f = at - k
            lower = table[k % PHASES, row[t], k // PHASES]
            k += 1
            out[t] = (1.0 - f) * lower + f * table[k % PHASES, row[t], k // PHASES]


@njit(cache=True, nogil=True)
def structure(
    start, row, before, done_start, done, x_start, x_index, x_value, scores, w, residual, prior_sd, course_of_row,
    item_of_row, courses, gains, gradient, information, item_information,
):  # fmt: skip
    """Gradient and observed information of (locations of courses, gains, regression), added up over persons.

    Louis (1982): complete-data information less the posterior covariance of the complete-data score. With ``w`` the
    answers' information about ability, the posterior variance is v = 1 / (Σ w + 1 / sd²) and that covariance v b b', b
    the derivative of the score by ability. ``residual`` (persons,): posterior mean less prior mean. Into
    ``item_information`` (items,) what the answers say about the location of each item.
    """
    size = gradient.size
    b = np.zeros(size)
    touched = np.empty(size, np.int64)
    is_touched = np.zeros(size, np.bool_)
    prior = 1.0 / (prior_sd * prior_sd)
    for j in range(start.size - 1):
        n = 0
        total = 0.0
        d0 = done_start[j]
        for t in range(start[j], start[j + 1]):
            total += w[t]
            c = course_of_row[row[t]]
            gradient[c] -= scores[t]
            information[c, c] += w[t]
            b[c] -= w[t]
            if not is_touched[c]:
                is_touched[c] = True
                touched[n] = c
                n += 1
            for d in range(before[t]):
                g = courses + done[d0 + d]
                gradient[g] += scores[t]
                b[g] += w[t]
                if not is_touched[g]:
                    is_touched[g] = True
                    touched[n] = g
                    n += 1
                information[c, g] -= w[t]
                information[g, c] -= w[t]
                for e in range(before[t]):
                    information[g, courses + done[d0 + e]] += w[t]
        v = 1.0 / (total + prior)
        for t in range(start[j], start[j + 1]):
            item_information[item_of_row[row[t]]] += w[t] * (1.0 - v * w[t])
        for k in range(x_start[j], x_start[j + 1]):
            f = courses + gains + x_index[k]
            x = x_value[k]
            gradient[f] += x * residual[j] * prior
            b[f] += -x * prior
            if not is_touched[f]:
                is_touched[f] = True
                touched[n] = f
                n += 1
            for m in range(x_start[j], x_start[j + 1]):
                information[f, courses + gains + x_index[m]] += x * x_value[m] * prior
        for i in range(n):
            bi = v * b[touched[i]]
            target = information[touched[i]]
            for k in range(n):
                target[touched[k]] -= bi * b[touched[k]]
        for i in range(n):
            b[touched[i]] = 0.0
            is_touched[touched[i]] = False


@njit(cache=True, nogil=True)
def ability_errors(
    start, row, before, done_start, done, w, prior_sd, course_of_row, courses, last, at, covariance, out
):  # fmt: skip
    """Variance of each posterior mean that errors of locations and gains make, into ``out`` (persons,).

    The mean at the last answer moves by v w with the location of a course, v the posterior variance; with the gain of a
    completion by v w of the answers before it, whose ability lies further below. The ability after the first ``at``
    completions is that one less the gains of the others. ``covariance`` of (locations, gains); ``prior_sd``, ``last``
    and ``at`` (persons,).
    """
    size = covariance.shape[0]
    b = np.zeros(size)
    touched = np.empty(size, np.int64)
    is_touched = np.zeros(size, np.bool_)
    for j in range(start.size - 1):
        n = 0
        prior = 1.0 / (prior_sd[j] * prior_sd[j])
        total = prior
        for t in range(start[j], start[j + 1]):
            total += w[t]
        known = 1.0 - prior / total
        for t in range(start[j], start[j + 1]):
            by = w[t] / total
            c = course_of_row[row[t]]
            b[c] += by
            if not is_touched[c]:
                is_touched[c] = True
                touched[n] = c
                n += 1
            for d in range(before[t]):
                g = courses + done[done_start[j] + d]
                b[g] -= by
                if not is_touched[g]:
                    is_touched[g] = True
                    touched[n] = g
                    n += 1
        for d in range(max(last[j], at[j])):
            g = courses + done[done_start[j] + d]
            b[g] += (known if d < last[j] else 0.0) - (1.0 if at[j] <= d < last[j] else 0.0)
            if not is_touched[g]:
                is_touched[g] = True
                touched[n] = g
                n += 1
        value = 0.0
        for i in range(n):
            row_of = covariance[touched[i]]
            for k in range(n):
                value += b[touched[i]] * row_of[touched[k]] * b[touched[k]]
        out[j] = max(value, 0.0)
        for i in range(n):
            b[touched[i]] = 0.0
            is_touched[touched[i]] = False


@njit(cache=True, nogil=True)
def sum_of_shifts(
    start, row, before, done_start, done, w, prior_sd, course_of_row, courses, last, member, weight, out
):  # fmt: skip
    """How the weighted sum of the posterior means of each ``member`` group (-1: none) moves, into ``out``.

    By group and (locations, gains), as in `ability_errors`.
    """
    for j in range(start.size - 1):
        g0 = member[j]
        if g0 < 0:
            continue
        prior = 1.0 / (prior_sd[j] * prior_sd[j])
        total = prior
        for t in range(start[j], start[j + 1]):
            total += w[t]
        for t in range(start[j], start[j + 1]):
            by = weight[j] * w[t] / total
            out[g0, course_of_row[row[t]]] += by
            for d in range(before[t]):
                out[g0, courses + done[done_start[j] + d]] -= by
        for d in range(last[j]):
            out[g0, courses + done[done_start[j] + d]] += weight[j] * (1.0 - prior / total)


@njit(cache=True, nogil=True, fastmath=_FAST)
def likelihoods(start, row, place, share, table, out):
    """Likelihood of every person at every node, largest value 1, into ``out`` (persons, nodes), float32."""
    w = np.empty(out.shape[1])
    for j in range(start.size - 1):
        w[:] = 0.0
        _add_answers(start[j], start[j + 1], row, place, share, table, 0, w)
        top = w[0]
        for q in range(w.size):
            top = max(top, w[q])
        for q in range(w.size):
            out[j, q] = np.exp(w[q] - top)


@njit(cache=True, nogil=True)
def widen(weight, spacing, sd):
    """Convolve each row of ``weight`` with a normal distribution of its ``sd`` (rows,), in place."""
    nodes = weight.shape[1]
    old = np.empty(nodes)
    for j in range(weight.shape[0]):
        if sd[j] < 0.02 * spacing:
            continue
        reach = min(int(4.0 * sd[j] / spacing) + 1, nodes - 1)
        kernel = np.empty(2 * reach + 1)
        # Cells of the grid, so that a narrow kernel keeps its variance.
        total = 0.0
        square = 0.0
        for k in range(2 * reach + 1):
            z = (k - reach) * spacing / max(sd[j], 0.35 * spacing)
            kernel[k] = np.exp(-0.5 * z * z)
            total += kernel[k]
            square += kernel[k] * ((k - reach) * spacing) ** 2
        mix = min(sd[j] * sd[j] / (square / total), 1.0)
        for q in range(nodes):
            old[q] = weight[j, q]
            weight[j, q] = (1.0 - mix) * old[q]
        for q in range(nodes):
            for k in range(2 * reach + 1):
                at = min(max(q + k - reach, 0), nodes - 1)
                weight[j, at] += mix * old[q] * kernel[k] / total


@njit(cache=True, nogil=True)
def join_courses(start, row, course_of_row, parent, persons):
    """Union of the courses that share a person into ``parent`` (courses,), and ``persons`` of each course."""
    seen = np.full(parent.size, -1, np.int64)
    for j in range(start.size - 1):
        for t in range(start[j], start[j + 1]):
            c = course_of_row[row[t]]
            if seen[c] == j:
                continue
            seen[c] = j
            persons[c] += 1
            a = course_of_row[row[start[j]]]
            while parent[a] != a:
                a = parent[a]
            while parent[c] != c:
                c = parent[c]
            parent[max(a, c)] = min(a, c)
    for c in range(parent.size):
        a = c
        while parent[a] != a:
            a = parent[a]
        parent[c] = a


@njit(cache=True, nogil=True)
def place_by_day(person, item, response, day, row_of, position, row, when):
    """Put each response's row and day at its person's next ``position``, then sort each person's by day and row."""
    start = position.copy()
    for t in range(person.size):
        r = row_of[item[t], response[t]]
        if r >= 0:
            j = person[t]
            row[position[j]] = r
            when[position[j]] = day[t]
            position[j] += 1
    for j in range(start.size):
        a, b = start[j], position[j]
        ordered = True
        for t in range(a + 1, b):
            if when[t] < when[t - 1] or (when[t] == when[t - 1] and row[t] < row[t - 1]):
                ordered = False
                break
        if ordered:
            continue
        keys = np.empty(b - a, np.int64)
        for t in range(a, b):
            keys[t - a] = np.int64(when[t]) * (1 << 32) + row[t]
        keys.sort()
        for t in range(a, b):
            when[t] = keys[t - a] >> 32
            row[t] = keys[t - a] & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def count_completed(start, when, done_start, done_day, before, last):
    """Completions on an earlier day than each answer (answers,), and than each person's last one (persons,)."""
    for j in range(start.size - 1):
        d = done_start[j]
        for t in range(start[j], start[j + 1]):
            while d < done_start[j + 1] and done_day[d] < when[t]:
                d += 1
            before[t] = d - done_start[j]
        last[j] = d - done_start[j]


@njit(cache=True, nogil=True)
def count_courses(item, course, position, counts):
    """Answers by place of the item (-1: none) and course, added to ``counts`` (items, courses)."""
    for t in range(item.size):
        if position[item[t]] >= 0:
            counts[position[item[t]], course[t]] += 1


@njit(cache=True, nogil=True)
def sum_by_item(row, value, item_of_row, out):
    """Add each answer's value to that of its item, ``out`` (items,)."""
    for t in range(row.size):
        out[item_of_row[row[t]]] += value[t]


@njit(cache=True, nogil=True)
def place_offsets(offset, steps, lowest, place, share):
    """Offsets on the grid of phases: ``place`` from the phase ``lowest`` on, and ``share`` of the next one."""
    for t in range(offset.size):
        position = offset[t] * steps
        k = np.floor(position)
        f = position - k
        place[t] = k - lowest
        share[t] = f if f > 1e-6 else 0.0
