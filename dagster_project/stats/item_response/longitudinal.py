"""One scale for the answers of years and of many courses: abilities that grow, learners who choose what they take.

    fit = calibrate_longitudinal(histories(person, item, response, course, day, completed...), level, covariates)
    likelihood = fit.likelihood(histories)

The ability of person j at an answer is θ_j plus the gains of the courses completed before, θ_j ~ N(x_j'γ, σ²). What is
estimated together, because whatever is left out goes into the difficulties:

- gains by completed course, random effects g_c ~ N(m, τ²): where later questions are answered by those who have learned
  since, one ability a person makes these questions look easy;
- γ: who takes which courses. Abler people take harder courses, so that one distribution for all biases every
  difficulty. x may hold numbers and levels of courses, scores in other skills, and the courses taken themselves;
- the locations of courses, random effects around the mean of their level: what the difficulties of a course's questions
  share is known only from people who answered in other courses too, and its error is larger than a question's own;
- questions around their course, with the graded model of `calibration` (right or wrong is the case of one step).

Growth by calendar time is not in the model: time, cohort and drifting questions cannot be told apart.

Marginal maximum likelihood: EM for the questions (Bock and Aitkin 1981); Newton steps on the observed information
(Louis 1982) of locations, gains and γ; variances of random effects by empirical Bayes (MacKay 1992, with a weak prior);
σ by parameter expansion (Liu, Rubin and Wu 1998). Memory is proportional to the answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.estimation import LARGEST_SLOPE
from dagster_project.stats.item_response.fit import curve_deviations
from dagster_project.stats.item_response.histories import Histories, pieces
from dagster_project.stats.item_response.longitudinal_bank import NODES, LongitudinalBank, item_frame, with_groups
from dagster_project.stats.item_response.moved_tables import MovedTables, places
from dagster_project.stats.item_response.quadrature import COARSEST_SPACING, Grid
from dagster_project.stats.item_response.responses import Layout

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

MOST_PASSES = 150
TOLERANCE = 0.01  # standard errors, of the last change of locations, gains and regression
SMALLEST_ERROR = 0.05  # sds of ability: smaller errors are judged by this one
ITEM_TOLERANCE = 0.005  # sds of ability, of the last change of a difficulty
LARGEST_STEP = 0.5
SUBSET_ANSWERS = 1_500_000
SLOPE_SPREAD = 0.35  # sd of slopes around their mean, in means
DENSE_VARIANCE = 0.25  # prior variance of the coefficient of a covariate with sd 1
PIECE_VARIANCE = 1.0  # of the mean ability of people who share no course with the others
# Random effects: prior guess of the variance, and how many effects it is worth.
COURSE_PRIOR, ITEM_PRIOR, GAIN_PRIOR, TAKEN_PRIOR, GUESSES = 0.15, 0.5, 0.04, 0.02, 4.0
SMALLEST_VARIANCE = 0.0025
GAIN_MEAN, GAIN_MEAN_VARIANCE = 0.1, 0.04


@dataclass
class _State:
    """What is estimated, in the unit in which the residual sd of ability is one."""

    slope: np.ndarray
    step: np.ndarray
    location: np.ndarray
    gain: np.ndarray
    gamma: np.ndarray
    course_variance: float = COURSE_PRIOR
    item_variance: float = ITEM_PRIOR
    gain_mean: float = GAIN_MEAN
    gain_variance: float = GAIN_PRIOR
    taken_variance: float = TAKEN_PRIOR


def calibrate_longitudinal(
    data: Histories, level, *, covariates=None, taken: csr_array | None = None, nodes: int = NODES
) -> LongitudinalBank:
    """Estimate questions, locations of courses, and gains of completed courses on one scale.

    Args:
        data: from `histories`.
        level (mapping or series, course → number): courses of a level share the mean of their location; absent: 0, of
            which every course stands for itself.
        covariates (array of shape (persons, k), optional): what is known of who takes what, in the order of
            ``data.persons``; standardized here.
        taken (sparse array of shape (persons, c), optional): 1 where a person took a course (or had any other trait);
            random effects with one variance.
        nodes: equally spaced quadrature points on ±6; doubled where somebody's posterior is too narrow for them.

    Raises:
        ValueError: no answers that vary, or shapes that do not fit.
    """
    if not len(data.persons):
        raise ValueError("there are no responses to items with different answers")
    x, kind = _design(data, covariates, taken)
    levels = _levels(data, level)
    stride = len(data.row) // SUBSET_ANSWERS
    start = None
    passes = 0
    if stride >= 2:
        chosen = np.arange(0, len(data.persons), stride)
        part = _Estimation(data.select(chosen), x[chosen], kind, levels, Grid(nodes))
        part.run(_first(data, x.shape[1]), tolerance=10 * TOLERANCE)
        start, passes = part.state, part.passes
    while True:
        estimation = _Estimation(data, x, kind, levels, Grid(nodes))
        estimation.run(start or _first(data, x.shape[1]))
        estimation.passes += passes
        smallest = np.sqrt(estimation.variance[data.answers > 0].min())
        if estimation.grid.spacing <= COARSEST_SPACING * smallest or nodes > 400:
            break
        start, nodes, passes = estimation.state, 2 * nodes - 1, estimation.passes
    return _to_bank(estimation, data, level)


def _first(data: Histories, columns: int) -> _State:
    steps = []
    for n, seen in zip(data.counts.astype(float), data.layout.observed, strict=True):
        above = n[seen][::-1].cumsum()[::-1][1:]
        steps.append(1.2 * np.log((above + 0.5) / (n.sum() - above + 0.5)))
    courses, gains = len(data.courses), len(data.learned)
    return _State(
        np.ones(len(data.items)), np.concatenate([*steps, np.empty(0)]), np.zeros(courses),
        np.full(gains, GAIN_MEAN), np.zeros(columns),
    )  # fmt: skip


def _levels(data: Histories, level) -> np.ndarray:
    """Level of each course by number; every course without a level has one of its own."""
    import pandas as pd

    value = pd.Series(level, dtype=float).reindex(data.courses).fillna(0).to_numpy(copy=True)
    own = np.flatnonzero(value == 0)
    value[own] = value.max(initial=0) + 1 + np.arange(len(own))
    return np.unique(value, return_inverse=True)[1]


DENSE, TAKEN, PIECE = 0, 1, 2


def _design(data: Histories, covariates, taken) -> tuple[csr_array, np.ndarray]:
    """Columns of the regression as sparse rows, and their kind."""
    from scipy.sparse import csr_array, hstack

    n = len(data.persons)
    parts, kind = [], []
    if covariates is not None:
        x = np.asarray(covariates, float).reshape(n, -1)
        if not np.isfinite(x).all():
            raise ValueError("covariates have missing values")
        spread = x.std(axis=0)
        x = ((x - x.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0))[:, spread > 1e-12]
        parts.append(csr_array(x))
        kind += [DENSE] * x.shape[1]
    if taken is not None:
        if taken.shape[0] != n:
            raise ValueError(f"taken has {taken.shape[0]} rows; expected {n}, one per person")
        parts.append(csr_array(taken, dtype=float))
        kind += [TAKEN] * taken.shape[1]
    piece = pieces(data)[0]
    if piece.max(initial=0) > 0:
        own = np.flatnonzero(piece > 0)
        parts.append(csr_array((np.ones(len(own)), (own, piece[own] - 1)), shape=(n, piece.max())))
        kind += [PIECE] * int(piece.max())
    x = csr_array(hstack(parts)) if parts else csr_array((n, 0))
    x.sort_indices()
    return x, np.array(kind, int)


class _Estimation:
    """One run of the estimation on given data and grid; `run` leaves the result in the attributes."""

    def __init__(self, data: Histories, x: csr_array, kind: np.ndarray, levels: np.ndarray, grid: Grid):
        from scipy.sparse import csr_array, hstack

        self.data, self.kind, self.levels, self.grid = data, kind, levels, grid
        # Columns are taken from their means, or one that nearly everybody has could not be told from the zero point of
        # the scale. So that rows stay sparse, a column of ones has the coefficient -mean'γ.
        self.column_means = np.asarray(x.mean(axis=0)).ravel()
        self.x = csr_array(hstack([x, np.ones((len(data.persons), 1))]))
        self.x.sort_indices()
        self.item_of_row = data.item_of_row
        self.course_of_row = data.course_of_item[self.item_of_row].astype(np.int64)
        self.step_item = np.repeat(np.arange(len(data.items)), np.diff(data.layout.step_start))
        self.courses, self.gains = len(data.courses), len(data.learned)
        self.size = self.courses + self.gains + len(kind)
        persons = len(data.persons)
        self.low, self.high = np.zeros(persons, np.int16), np.full(persons, grid.nodes, np.int16)
        self.mean, self.variance = np.empty(persons), np.empty(persons)
        self.scores = np.empty(len(data.row), np.float32)
        self.w = np.empty(len(data.row), np.float32)
        self.passes, self.converged = 0, False
        self.covariance = np.zeros((self.size, self.size))
        self.unknown_spread = 0.0

    def run(self, state: _State, *, tolerance: float = TOLERANCE) -> None:
        """Passes until nothing changes by more than ``tolerance`` standard errors."""
        self.state = state
        state.location = self._locations(state, np.maximum(self.data.counts.sum(axis=1), 1.0))
        moved = 1.0
        for number in range(MOST_PASSES):
            fresh = number < 4 or number % 3 == 0 or moved < 3 * tolerance
            moved, item_moved = self._pass(fresh)
            self.passes += 1
            if fresh and moved < tolerance and item_moved < ITEM_TOLERANCE * tolerance / TOLERANCE:
                self.converged = True
                break

    def expect(self) -> MovedTables:
        """E-step; keeps posterior moments, scores and counts."""
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        data, state = self.data, self.state
        offset = np.empty(len(data.row), np.float32)
        kernels.offsets(data.start, data.before, data.done_start, data.done, state.gain, offset)
        place, share, low, high = places(offset, self.grid.spacing)
        tables = MovedTables(state.slope, state.step, data.layout, self.grid, low, high)
        self.prior = self._expected(state.gamma)
        counts = np.empty_like(tables.log_p)
        self.log_likelihood = kernels.expect(
            data.start, data.row, place, share, tables.log_p, tables.score, self.prior, np.ones(len(data.persons)),
            self.grid.node, self.low, self.high, counts, self.mean, self.variance, self.scores,
        )  # fmt: skip
        kernels.at_mean(data.start, data.row, place, share, tables.information, self.mean, self.grid.node, self.w)
        self.counts = tables.by_node(counts)
        return tables

    def _pass(self, fresh: bool) -> tuple[float, float]:
        from scipy.linalg import cho_factor, cho_solve
        from scipy.linalg.lapack import get_lapack_funcs

        from dagster_project.stats.item_response import item_kernels
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        data, state = self.data, self.state
        c, g = slice(self.courses), slice(self.courses, self.courses + self.gains)
        r = slice(self.courses + self.gains, None)
        tables = self.expect()
        gradient, information = np.zeros(self.size + 1), np.zeros((self.size + 1, self.size + 1))
        self.item_information = np.zeros(len(data.items))
        kernels.structure(
            data.start, data.row, data.before, data.done_start, data.done, self.x.indptr.astype(np.int64),
            self.x.indices, self.x.data, self.scores, self.w, self.mean - self.prior, 1.0, self.course_of_row,
            self.item_of_row, self.courses, self.gains, gradient, information, self.item_information,
        )  # fmt: skip
        gradient, information = self._reduced(gradient, information)
        old_difficulty = self._difficulties(state)
        phi = np.concatenate([state.location, state.gain, state.gamma])
        prior_gradient, precision = self._prior(state, phi)
        information += precision
        factor, lower = cho_factor(information, lower=True, overwrite_a=True, check_finite=False)
        change = cho_solve((factor, lower), gradient + prior_gradient, check_finite=False)
        change = np.clip(change, -LARGEST_STEP, LARGEST_STEP)
        if fresh:
            (invert,) = get_lapack_funcs(("potri",), (factor,))
            inverse, _ = invert(factor, lower=1, overwrite_c=1)
            self.covariance = np.tril(inverse) + np.tril(inverse, -1).T
            self.errors = np.sqrt(self.covariance.diagonal())

        # Questions: the M-step, less what it moves a course as a whole, which is the Newton step's part.
        new = replace(state, slope=state.slope.copy(), step=state.step.copy())
        every = np.ones(len(data.items), bool)
        item_kernels.maximize_items(
            new.slope, new.step, data.layout.step_start, every, every, self._item_prior(state), self.counts,
            tables.node, LARGEST_SLOPE,
        )  # fmt: skip
        weight = 1.0 / (state.item_variance + 1.0 / np.maximum(self.item_information, 1e-9))
        drifted = self._locations(new, weight) - self._locations(state, weight)
        shift = change[c] - drifted
        new.step -= new.slope[self.step_item] * shift[data.course_of_item[self.step_item]]
        new.gain, new.gamma = state.gain + change[g], state.gamma + change[r]
        # Parameter expansion: the unit is the residual sd, whatever the slopes just did.
        # What is not known of γ is part of the spread around it, or many columns would make the unit too small.
        if fresh:
            weighted = self.x.multiply(np.maximum(1.0 - self.variance, 0.0)[:, None]).tocsr()
            products = self._reduced(None, (weighted.T @ weighted).toarray())[1]
            self.unknown_spread = float((self.covariance[r, r] * products).sum()) / len(self.mean)
        spread = np.mean(self.variance + (self.mean - self._expected(new.gamma)) ** 2) + self.unknown_spread
        scale = float(np.clip(np.sqrt(spread), 0.7, 1.4))
        new.slope, new.gain, new.gamma = new.slope * scale, new.gain / scale, new.gamma / scale
        new.location = self._locations(new, weight)
        if fresh:
            self._variances(new, self.covariance / scale**2)
        self.state = new
        moved = np.abs(np.concatenate([new.location, new.gain, new.gamma]) - phi) / np.maximum(
            self.errors, SMALLEST_ERROR
        )
        difficulty = self._difficulties(new)
        return float(moved.max(initial=0.0)), float(np.abs(difficulty - old_difficulty).max())

    def _expected(self, gamma: np.ndarray) -> np.ndarray:
        """Mean ability that the regression expects of each person; its mean over all of them is zero."""
        return self.x @ np.append(gamma, -self.column_means @ gamma)

    def _reduced(self, gradient: np.ndarray | None, information: np.ndarray):
        """Derivatives without the column of ones, whose coefficient the others determine."""
        own = np.zeros(len(information) - 1)
        own[len(own) - len(self.column_means) :] = -self.column_means
        last = information[:-1, -1]
        reduced = (
            information[:-1, :-1] + np.outer(own, last) + np.outer(last, own) + information[-1, -1] * np.outer(own, own)
        )
        return None if gradient is None else gradient[:-1] + own * gradient[-1], reduced

    def _difficulties(self, state: _State) -> np.ndarray:
        """Mean difficulty of each item's steps."""
        steps = np.diff(self.data.layout.step_start)
        return -np.bincount(self.step_item, state.step, len(steps)) / steps / state.slope

    def _locations(self, state: _State, weight: np.ndarray) -> np.ndarray:
        home = self.data.course_of_item
        total = np.bincount(home, weight, self.courses)
        return np.bincount(home, weight * self._difficulties(state), self.courses) / total

    def _item_prior(self, state: _State) -> np.ndarray:
        """Normal priors of `maximize_items`: slopes around their mean, questions around their course."""
        location = state.location[self.data.course_of_item]
        return _question_prior(float(state.slope.mean()), location, state.item_variance, self.data.layout)

    def _prior(self, state: _State, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and precision matrix of the normal priors of locations, gains and regression.

        The means of levels (flat) and of the gains are integrated out: estimating them in turn with what they are the
        means of would go on for long.
        """
        c, g = slice(self.courses), slice(self.courses, self.courses + self.gains)
        by_kind = np.array([DENSE_VARIANCE, state.taken_variance, PIECE_VARIANCE])
        precision = np.zeros((self.size, self.size))
        same = self.levels[:, None] == self.levels[None, :]
        precision[c, c] = (np.eye(self.courses) - same / same.sum(axis=1)) / state.course_variance
        shared = GAIN_MEAN_VARIANCE / (state.gain_variance + GAIN_MEAN_VARIANCE * self.gains)
        precision[g, g] = (np.eye(self.gains) - shared) / state.gain_variance
        rest = np.arange(self.courses + self.gains, self.size)
        precision[rest, rest] = 1.0 / by_kind[self.kind] if len(self.kind) else 0.0
        centre = np.zeros(self.size)
        centre[g] = GAIN_MEAN
        return -precision @ (phi - centre), precision

    def _variances(self, state: _State, covariance: np.ndarray) -> None:
        """Empirical Bayes: between-effect variances from the effects and how well each is known."""
        _, g, r = np.split(covariance.diagonal(), [self.courses, self.courses + self.gains])
        size = np.bincount(self.levels)
        several = size[self.levels] > 1
        same = (self.levels[:, None] == self.levels[None, :]) / size[self.levels][:, None]
        from_mean = np.eye(self.courses) - same
        known = covariance[: self.courses, : self.courses]
        deviation = np.einsum("ij,jk,ik->i", from_mean, known, from_mean)
        state.course_variance = _between(
            (from_mean @ state.location)[several], deviation[several], state.course_variance, COURSE_PRIOR,
            int((size > 1).sum()),
        )  # fmt: skip
        if self.gains:
            precision = self.gains / state.gain_variance
            state.gain_mean = (state.gain.sum() / state.gain_variance + GAIN_MEAN / GAIN_MEAN_VARIANCE) / (
                precision + 1 / GAIN_MEAN_VARIANCE
            )
            state.gain_variance = _between(state.gain - state.gain_mean, g, state.gain_variance, GAIN_PRIOR, 1)
        taken = self.kind == TAKEN
        if taken.any():
            state.taken_variance = _between(state.gamma[taken], r[taken], state.taken_variance, TAKEN_PRIOR, 0)
        around = self._difficulties(state) - state.location[self.data.course_of_item]
        home = np.bincount(self.data.course_of_item, minlength=self.courses)
        free = max(len(around) - int((home > 0).sum()), 0)
        state.item_variance = float((around @ around + GUESSES * ITEM_PRIOR) / (free + GUESSES))


def _between(effect: np.ndarray, error: np.ndarray, variance: float, guess: float, lost: int) -> float:
    known = max(float((1.0 - error / variance).sum()) - lost, 0.0)
    return max(float((effect @ effect + GUESSES * guess) / (known + GUESSES)), SMALLEST_VARIANCE)


def _to_bank(estimation: _Estimation, data: Histories, level) -> LongitudinalBank:
    import pandas as pd

    from dagster_project.stats.item_response import longitudinal_kernels as kernels
    from dagster_project.stats.item_response.bank import report_frame

    state, grid = estimation.state, estimation.grid
    tables = estimation.expect()
    # The scale: ability of everybody at the last answer has mean 0 and sd 1.
    gained = np.r_[0.0, np.cumsum(state.gain[data.done])]
    first = data.done_start[:-1]
    at_last = estimation.mean + gained[first + data.last] - gained[first]
    shift = float(at_last.mean())
    unit = float(np.sqrt(np.mean(estimation.variance + (at_last - shift) ** 2)))

    # Errors of locations from their mean by information, of gains, and of each question.
    by_item = np.zeros(len(data.items))
    kernels.sum_by_item(data.row, estimation.w, estimation.item_of_row, by_item)
    by_course = np.bincount(data.course_of_item, by_item, len(data.courses))
    size = estimation.courses + estimation.gains
    centred = np.eye(size)
    centred[: estimation.courses, : estimation.courses] -= (by_course / by_course.sum())[None, :]
    covariance = centred @ estimation.covariance[:size, :size] @ centred.T
    errors = covariance.diagonal().copy()
    steps = np.diff(data.layout.step_start)
    covariances = _question_covariances(
        state.slope, state.step, data.layout, estimation._item_prior(state), estimation.counts, tables.node
    )
    shared = np.maximum(errors[: estimation.courses] - 1.0 / np.maximum(by_course, 1e-9), 0.0)
    slope, step = state.slope * unit, state.step + state.slope[estimation.step_item] * shift
    by_slope = np.zeros(len(steps))
    for i, m in enumerate(steps):
        own = covariances[i, : m + 1, : m + 1]
        a, d = state.slope[i], state.step[data.layout.step_start[i] : data.layout.step_start[i] + m]
        by_step = np.r_[d.mean() / a**2, np.full(m, -1.0 / (m * a))]
        by_slope[i] = max(by_step @ own @ by_step - 1.0 / (by_item[i] + 1.0 / state.item_variance), 0.0)
        own[1:, 1:] += a**2 * shared[data.course_of_item[i]]
        # In the unit of the bank: slope × unit, step + slope × shift.
        turn = np.eye(m + 1)
        turn[0, 0] = unit
        turn[1:, 0] = shift
        own[:] = turn @ own @ turn.T
    frame = item_frame(data, slope, step, covariances)
    frame.insert(1, "course", data.courses[data.course_of_item])

    weight = by_item / np.maximum(by_course[data.course_of_item], 1e-9)
    of_slopes = np.bincount(data.course_of_item, weight**2 * by_slope, len(data.courses))
    _, piece, persons = pieces(data)
    courses = pd.DataFrame(
        {
            "course": data.courses,
            "level": pd.Series(level, dtype=float).reindex(data.courses).fillna(0).to_numpy(int),
            "persons": persons,
            "answers": np.bincount(data.course_of_item, frame["n"], len(data.courses)).astype(int),
            "location": (np.bincount(data.course_of_item, weight * estimation._difficulties(state)) - shift) / unit,
            "location_se": np.sqrt(errors[: estimation.courses] + of_slopes) / unit,
            "shared_se": np.sqrt(shared) / unit,
            "is_linked": piece == 0,
        }
    )
    facts = {
        "passes": estimation.passes,
        "converged": estimation.converged,
        "log_likelihood": float(estimation.log_likelihood),
        "gain_mean": state.gain_mean / unit,
        "gain_sd": float(np.sqrt(state.gain_variance)) / unit,
        "course_sd": float(np.sqrt(state.course_variance)) / unit,
        "item_sd": float(np.sqrt(state.item_variance)) / unit,
        "taken_sd": float(np.sqrt(state.taken_variance)) / unit,
        "residual_sd": 1.0 / unit,
    }
    notes = list(data.notes)
    if not estimation.converged:
        notes.append(("calibration", "", 0, f"no convergence after {estimation.passes} passes"))
    bank = ItemBank(
        items=frame, groups=pd.DataFrame(), model="graded", nodes=grid.nodes,
        log_likelihood=facts["log_likelihood"], iterations=estimation.passes, converged=estimation.converged,
        report=report_frame(notes),
    )  # fmt: skip
    found = LongitudinalBank(
        bank=bank,
        courses=courses,
        gains=_gains(estimation, data, errors[estimation.courses :], unit),
        covariance=covariance / unit**2,
        facts=facts,
        fit=_item_fit(estimation, data, tables),
        report=report_frame(notes),
    )
    return with_groups(found, data)


def _gains(estimation: _Estimation, data: Histories, variance: np.ndarray, unit: float) -> pd.DataFrame:
    import pandas as pd

    state = estimation.state
    prior = 1.0 / state.gain_variance
    own = np.maximum(1.0 / np.maximum(variance, 1e-12) - prior, 1e-9)
    gain = (state.gain / np.maximum(variance, 1e-12) - state.gain_mean * prior) / own
    # Takers that say something: an answer before, and one after.
    who = np.repeat(np.arange(len(data.persons)), np.diff(data.done_start))
    number = np.arange(len(data.done)) - data.done_start[who]
    both = (number < data.last[who]) & (number >= data.before[data.start[:-1]][who])
    persons = np.bincount(data.done[both], minlength=len(data.learned))
    known = persons > 0
    return pd.DataFrame(
        {
            "course": data.learned,
            "persons": persons,
            "gain": np.where(known, gain, np.nan) / unit,
            "gain_se": np.where(known, 1.0 / np.sqrt(own), np.nan) / unit,
            "shrunken_gain": state.gain / unit,
            "shrunken_se": np.sqrt(variance) / unit,
        }
    )


def _item_fit(estimation: _Estimation, data: Histories, tables: MovedTables) -> pd.DataFrame:
    import pandas as pd

    rmsd = curve_deviations(data.layout, estimation.counts, tables.flat)
    return pd.DataFrame({"item": data.items, "rmsd": rmsd, "n": data.counts.sum(axis=1)})


def _question_prior(slope: float, location: np.ndarray, variance, layout: Layout) -> np.ndarray:
    """Normal priors of `maximize_items` (items, 4): slopes around their mean, questions around their location."""
    graded = np.diff(layout.step_start) > 1
    spread = slope * np.sqrt(variance + graded)
    return np.column_stack(
        [np.full(len(location), slope), np.full(len(location), SLOPE_SPREAD * slope), -slope * location, spread]
    )


def _question_covariances(slope, step, layout: Layout, prior, counts, node) -> np.ndarray:
    """Covariance of each item's (slope, steps) were abilities known, (items, most steps + 1, …); NaN beyond its own."""
    from dagster_project.stats.item_response import item_kernels

    steps = np.diff(layout.step_start)
    size = len(steps), int(steps.max(initial=1)) + 1
    gradient, hessian = np.zeros(size), np.zeros((*size, size[1]))
    item_kernels.item_derivatives(slope, step, layout.step_start, prior, counts, node, gradient, hessian)
    out = np.full_like(hessian, np.nan)
    for i, m in enumerate(steps):
        out[i, : m + 1, : m + 1] = np.linalg.inv(-hessian[i, : m + 1, : m + 1])
    return out


def add_items(found: LongitudinalBank, data: Histories) -> LongitudinalBank:
    """Put new items of known courses on the scale of a bank, whose own items, courses and gains stay as they are.

    Fixed-parameter calibration (Kim 2006, multiple EM cycles): persons keep the prior of their group. A new item has
    its course's location and the spread of items around it as a prior.

    Args:
        data: from `histories` with ``items`` the bank and ``with_new``; its new items belong to courses of the bank.
    """
    import pandas as pd

    from dagster_project.stats.item_response import item_kernels
    from dagster_project.stats.item_response import longitudinal_kernels as kernels

    layout, old = found.bank.parameters()
    known = len(layout.items)
    items = np.arange(len(data.items))
    steps = np.diff(data.layout.step_start)
    step_item = np.repeat(items, steps)
    new = items >= known
    place = pd.Index(found.courses["course"]).get_indexer(data.courses)[data.course_of_item]
    location, error = (found.courses[name].to_numpy(float)[place] for name in ("location", "location_se"))
    mean_slope = float(old.slope.mean())
    first = _first(data, 0)
    slope = np.concatenate([old.slope, np.full(new.sum(), mean_slope)])
    step = np.concatenate([old.step, first.step[data.layout.step_start[known] :]])
    prior = _question_prior(mean_slope, location, found.facts["item_sd"] ** 2 + error**2, data.layout)
    mean, sd = found.prior(data)
    grid = found.grid
    spot, share, low, high = places(found.offsets(data), grid.spacing)
    n = len(data.persons)
    windows = np.zeros(n, np.int16), np.full(n, grid.nodes, np.int16)
    moments, scores = (np.empty(n), np.empty(n)), np.empty(len(data.row), np.float32)
    for _ in range(MOST_PASSES):
        tables = MovedTables(slope, step, data.layout, grid, low, high)
        counts = np.empty_like(tables.log_p)
        kernels.expect(
            data.start, data.row, spot, share, tables.log_p, tables.score, mean, sd, grid.node, *windows, counts,
            *moments, scores,
        )  # fmt: skip
        by_node = tables.by_node(counts)
        before = step.copy()
        item_kernels.maximize_items(
            slope, step, data.layout.step_start, new, new, prior, by_node, tables.node, LARGEST_SLOPE
        )
        if np.abs((step - before) / slope[step_item]).max() < ITEM_TOLERANCE:
            break
    covariances = _question_covariances(slope, step, data.layout, prior, by_node, tables.node)
    covariances[:, 1:, 1:] += ((slope * error) ** 2)[:, None, None]
    frame = item_frame(data, slope, step, covariances)
    frame.insert(1, "course", data.courses[data.course_of_item])
    added = frame[new]
    together = pd.concat([found.bank.items, added], ignore_index=True).sort_values("item", ignore_index=True)
    return replace(found, bank=replace(found.bank, items=together))
