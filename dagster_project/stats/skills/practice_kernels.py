"""Compiled loops of the choice of questions: one thread, float64."""

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def _draw(learner, question):
    """A number from 0 up to 1 that follows from two hashes alone (the finalizer of SplitMix64)."""
    z = learner + question * _STEP
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def rank_candidates(mean, sd, node, weight, first, spacing, table, start, answered, out):
    """Most informative questions of each learner into ``out`` (learners, size), the best first; -1: no more.

    Information is averaged over the ability's normal distribution: ``node``, ``weight`` are of the standard normal one.
    ``table`` (abilities, questions) holds it at ``first`` + k × ``spacing``; between these it is linear. Learner ``j``
    has answered ``answered[start[j]:start[j + 1]]``.
    """
    points, questions = table.shape
    size = out.shape[1]
    total, value = np.empty(questions), np.empty(size)
    for j in range(mean.size):
        total[:] = 0.0
        for q in range(node.size):
            position = (mean[j] + sd[j] * node[q] - first) / spacing
            position = min(max(position, 0.0), points - 1.000001)
            left = int(position)
            upper = weight[q] * (position - left)
            lower = weight[q] - upper
            at, after = table[left], table[left + 1]
            for i in range(questions):
                total[i] += lower * at[i] + upper * after[i]
        for t in range(start[j], start[j + 1]):
            total[answered[t]] = -1.0
        n = 0
        for i in range(questions):
            if total[i] < 0.0 or (n == size and total[i] <= value[size - 1]):
                continue
            r = min(n, size - 1)
            while r > 0 and value[r - 1] < total[i]:
                value[r] = value[r - 1]
                out[j, r] = out[j, r - 1]
                r -= 1
            value[r] = total[i]
            out[j, r] = i
            n = min(n + 1, size)
        out[j, n:] = -1


@njit(cache=True, nogil=True)
def choose(candidate, learner_hash, question_hash, eligible, course, most_of_course, chosen, exposure):
    """The first candidates that are eligible, into ``chosen`` (learners, count), -1 behind them; ``exposure`` counts.

    A question is eligible for a learner with the probability ``eligible``, by a draw that follows from the hashes.
    """
    exposure[:] = 0
    count = chosen.shape[1]
    for j in range(candidate.shape[0]):
        n = 0
        for r in range(candidate.shape[1]):
            i = candidate[j, r]
            if i < 0 or n == count:
                break
            if eligible[i] < 1.0 and _draw(learner_hash[j], question_hash[i]) >= eligible[i]:
                continue
            of_course = 0
            for t in range(n):
                of_course += course[chosen[j, t]] == course[i]
            if of_course < most_of_course:
                chosen[j, n] = i
                exposure[i] += 1
                n += 1
        chosen[j, n:] = -1


@njit(cache=True, nogil=True)
def describe(learner, question, mean, sd, node, weight, slope, step, step_count, information, std_error):
    """Information of a question about a learner, and the standard error to expect after the answer, pair by pair.

    ``step`` (questions, steps) descending, the first ``step_count`` of them real. The error is the root of the expected
    posterior variance.
    """
    width = step.shape[1] + 1
    zeroth, once, twice = np.empty(width), np.empty(width), np.empty(width)
    for t in range(learner.size):
        j, i = learner[t], question[t]
        zeroth[:] = 0.0
        once[:] = 0.0
        twice[:] = 0.0
        information[t] = 0.0
        for q in range(node.size):
            ability = mean[j] + sd[j] * node[q]
            reached, slant = 1.0, 0.0  # P(category or higher), and its derivative by ability
            for c in range(step_count[i] + 1):
                above, steepness = 0.0, 0.0
                if c < step_count[i]:
                    above = 1.0 / (1.0 + np.exp(-(slope[i] * ability + step[i, c])))
                    steepness = slope[i] * above * (1.0 - above)
                chance = reached - above
                if chance > 0.0:
                    information[t] += weight[q] * (slant - steepness) ** 2 / chance
                    zeroth[c] += weight[q] * chance
                    once[c] += weight[q] * chance * ability
                    twice[c] += weight[q] * chance * ability * ability
                reached, slant = above, steepness
        variance = 0.0
        for c in range(step_count[i] + 1):
            if zeroth[c] > 0.0:
                variance += twice[c] - once[c] * once[c] / zeroth[c]
        std_error[t] = np.sqrt(max(variance, 0.0))
