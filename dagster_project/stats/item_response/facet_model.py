"""Estimation of the many-facet model (module `facets`): marks sorted and coded, effects, thresholds and variances."""

from __future__ import annotations

from copy import copy

import numpy as np

FEWEST_SECOND_MARKS = 10  # hand-ins with several, without which nothing tells their own part from chance
MOST_STEPS = 10
FEWEST_OF_A_CATEGORY = 10
NODES = 9
MARKS_TO_BEGIN_WITH = 100_000  # of more, a part of the learners comes first
MOST_ITERATIONS = 200
SETTLED = 0.03  # of the last step of the unit: what else may move when it is moved again
MOST_SETTLING = 12  # iterations until it is moved anyway, if no more moves than
UNSETTLED = 0.1
STEP = 2e-3  # logits, and logarithms of the sds: what may be left
USUAL_SPACING = 1.4  # of thresholds, to begin with
SMALL = 1e-6  # information that holds cells where nothing else does
LARGEST_STEP = 0.5
TOLERANCE = 0.03  # of conjugate gradients, relative, for a step; 0.01 for standard errors
TOLERANCE_OF_ERRORS = 0.01
LOWEST, SPACING, POINTS = -30.0, 0.02, 3001  # of the grid of distances, logits
GRID = LOWEST + SPACING * np.arange(POINTS)


def estimate(data: Marks) -> tuple[Model, int, bool]:
    """The model of these marks, how many iterations it took, and whether the last one moved nothing."""
    every = len(data.share) // MARKS_TO_BEGIN_WITH
    start = None
    if every > 1:
        start = Model(data.some(every))
        start.maximize()
    model = Model(data, start)
    return model, *model.maximize()


class Marks:
    """Marks sorted by learner and hand-in, with codes instead of labels."""

    def __init__(self, learner, hand_in, item, kind, share, grader, period, steps, group) -> None:
        import pandas as pd

        share = np.asarray(share, float)
        n = len(share)
        period = np.zeros(n) if period is None else np.asarray(period, float)
        steps = np.full(n, MOST_STEPS) if steps is None else np.asarray(steps)
        grader = np.full(n, None, object) if grader is None else np.asarray(grader, object)
        for name, values in (("learner", learner), ("hand_in", hand_in), ("item", item), ("kind", kind)):
            if len(values) != n:
                raise ValueError(f"{name} has {len(values)} elements, share has {n}; expected one per mark in each")
        for name, values in (("grader", grader), ("period", period), ("steps", steps), ("group", group)):
            if values is None:
                continue
            if len(values) != n:
                raise ValueError(f"{name} has {len(values)} elements, share has {n}; expected one per mark in each")
        wrong = np.flatnonzero(~((share >= 0) & (share <= 1)))
        if len(wrong):
            raise ValueError(f"share {share[wrong[0]]} at {wrong[0]}; expected a share of the best mark, 0 to 1")
        wrong = np.flatnonzero(~((steps >= 1) & (steps <= MOST_STEPS)))
        if len(wrong):
            raise ValueError(f"steps {steps[wrong[0]]} at {wrong[0]}; expected 1 to {MOST_STEPS}")
        if not n:
            raise ValueError("no marks; expected at least one")

        learners, _ = pd.factorize(np.asarray(learner))
        hand_ins, self.hand_ins = pd.factorize(np.asarray(hand_in))
        items, self.items = pd.factorize(np.asarray(item))
        order = np.lexsort((hand_ins, learners))
        self.share, self.learner, of_hand_in = share[order], learners[order], hand_ins[order]
        self.item = items[order].astype(np.int64)
        self.kind, self.kinds = pd.factorize(np.asarray(kind, object)[order], sort=True)
        self.grader, self.graders = pd.factorize(grader[order], sort=True)
        self.period, self.periods = pd.factorize(period[order], sort=True)
        begins = np.flatnonzero(np.r_[True, (np.diff(of_hand_in) != 0) | (np.diff(self.learner) != 0)])
        self.hand_in_start = np.r_[begins, n]
        self.hand_in = np.repeat(np.arange(len(begins)), np.diff(self.hand_in_start))
        self.label = of_hand_in[begins]
        if len(np.unique(self.label)) < len(self.label):
            twice = self.hand_ins[self.label[np.flatnonzero(np.bincount(self.label)[self.label] > 1)[0]]]
            raise ValueError(f"hand-in {twice!r} has marks of several learners; expected one piece of work of one")
        mixed = np.flatnonzero(self.item != self.item[begins][self.hand_in])
        if len(mixed):
            label = self.hand_ins[of_hand_in[mixed[0]]]
            raise ValueError(f"hand-in {label!r} has marks of several items; expected one piece of work at one item")
        of_learner = self.learner[begins]
        self.learner_start = np.r_[np.flatnonzero(np.r_[True, np.diff(of_learner) != 0]), len(begins)]
        self.cell = self.kind * len(self.periods) + self.period
        self.cell_count = len(self.kinds) * len(self.periods)
        self.group = self.cell if group is None else pd.factorize(np.asarray(group)[order], sort=True)[0]
        self._cut(steps[order].astype(np.int64))

    def some(self, every: int) -> Marks:
        """The marks of every so-manieth learner, codes as they are."""
        kept = copy(self)
        chosen = np.arange(0, len(self.learner_start) - 1, every)
        hand_ins = _ranges(self.learner_start[chosen], self.learner_start[chosen + 1])
        marks = _ranges(self.hand_in_start[hand_ins], self.hand_in_start[hand_ins + 1])
        for name in ("share", "learner", "item", "kind", "grader", "period", "cell", "group", "scale", "category"):
            setattr(kept, name, getattr(self, name)[marks])
        sizes = np.diff(self.hand_in_start)[hand_ins]
        kept.hand_in_start = np.r_[0, np.cumsum(sizes)]
        kept.hand_in = np.repeat(np.arange(len(hand_ins)), sizes)
        kept.learner_start = np.r_[0, np.cumsum(np.diff(self.learner_start)[chosen])]
        return kept

    def _cut(self, steps: np.ndarray) -> None:
        """Categories of each scale: rare ones are joined with their neighbour towards the middle."""
        self.scales, self.scale = np.unique(steps, return_inverse=True)
        self.category = np.zeros(len(steps), np.int64)
        self.lowest: list[np.ndarray] = []  # steps at which a category begins, by scale
        for s, most in enumerate(self.scales):
            inside = self.scale == s
            step = np.rint(self.share[inside] * most).astype(np.int64)
            count = np.bincount(step, minlength=most + 1)
            lowest = _joined(count)
            self.lowest.append(lowest)
            self.category[inside] = np.searchsorted(lowest, step, side="right") - 1
        self.most = np.array([len(lowest) - 1 for lowest in self.lowest])


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    size = end - begin
    return np.repeat(begin - np.cumsum(size) + size, size) + np.arange(size.sum())


def _joined(count: np.ndarray) -> np.ndarray:
    """First step of each category, so that each has enough marks."""
    begins = [0]
    held = 0
    for step, n in enumerate(count):
        if held >= FEWEST_OF_A_CATEGORY:
            begins.append(step)
            held = 0
        held += n
    if held < FEWEST_OF_A_CATEGORY and len(begins) > 1:
        begins.pop()
    return np.array(begins)


# --- estimation


class Model:
    """Effects, thresholds and variances, and their estimation."""

    def __init__(self, data: Marks, start: Model | None = None) -> None:
        """A model to be estimated, from what was found in a part of the learners if ``start`` is given."""
        self.data = data
        items, graders = len(data.items), len(data.graders)
        self.item, self.cell, self.grader = np.zeros(items), np.zeros(data.cell_count), np.zeros(graders)
        self.threshold = [np.zeros(most) for most in data.most]
        self.learner_variance, self.hand_in_variance, self.item_variance, self.grader_variance = 0.5, 0.5, 1.0, 0.1
        hand_ins, learners, marks = len(data.hand_in_start) - 1, len(data.learner_start) - 1, len(data.share)
        # One mark does not tell what is the hand-in's own and what is chance.
        self.has_second_marks = int((np.diff(data.hand_in_start) > 1).sum()) >= FEWEST_SECOND_MARKS
        if not self.has_second_marks:
            self.hand_in_variance = SMALL
        self.site = np.zeros((hand_ins, 2))
        self.centre, self.width = np.zeros(hand_ins), np.ones(hand_ins)
        # Of marks with one step the unit is that of the logit alone.
        self.has_unit, self.unit_variance = bool((data.most > 1).any()), 0.0
        self.learner_moment = np.zeros((learners, 2))
        self.residual, self.weight = np.zeros(marks), np.ones(marks)
        self.counts = np.zeros((len(data.scales), POINTS))
        node, weight = np.polynomial.hermite_e.hermegauss(NODES)
        self.node, self.log_weight = node, np.log(weight) + 0.5 * node**2
        # Difficulties are normal around a mean of their group: with one mean for all, items that one kind alone marks
        # would seem to tell its severity.
        count = np.unique(data.item * (data.group.max() + 1) + data.group, return_counts=True)
        order = np.argsort(count[1], kind="stable")[::-1]
        item_of_pair, group_of_pair = np.divmod(count[0][order], data.group.max() + 1)
        which, first = np.unique(item_of_pair, return_index=True)
        most = np.zeros(items, np.int64)
        most[which] = group_of_pair[first]
        scale_of_item = np.zeros(items, np.int64)
        scale_of_item[data.item] = data.scale
        self.scale_of_item = scale_of_item
        _, self.group = np.unique(most * len(data.scales) + scale_of_item, return_inverse=True)
        self.in_group = np.bincount(self.group)
        self.is_begun = start is not None
        if start:
            for name in ("item", "cell", "grader", "threshold", "learner_variance", "hand_in_variance"):
                setattr(self, name, getattr(start, name))
            self.item_variance, self.grader_variance = start.item_variance, start.grader_variance

    def effects(self) -> np.ndarray:
        """Of each mark: difficulty, severity of kind and period, and of the grader."""
        data = self.data
        total = self.item[data.item] + self.cell[data.cell]
        if len(self.grader):
            total += np.where(data.grader >= 0, self.grader[data.grader], 0.0)
        return total

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By scale and point of the grid: logarithm of the sum over categories, expected category, its variance."""
        shape = (len(self.data.scales), POINTS)
        total, expected, variance = np.empty(shape), np.empty(shape), np.empty(shape)
        for s in range(shape[0]):
            logs, p = self.probabilities(s)
            k = np.arange(len(p))[:, None]
            total[s] = logs
            expected[s] = (k * p).sum(axis=0)
            variance[s] = (k**2 * p).sum(axis=0) - expected[s] ** 2
        return total, expected, variance

    def probabilities(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a scale: logarithm of the sum, (POINTS,), and probability of each category, (categories, POINTS)."""
        steps = np.r_[0.0, np.cumsum(self.threshold[scale])]
        log_p = np.arange(len(steps))[:, None] * GRID - steps[:, None]
        top = log_p.max(axis=0)
        logs = top + np.log(np.exp(log_p - top).sum(axis=0))
        return logs, np.exp(log_p - logs)

    def maximize(self) -> tuple[int, bool]:
        """Estimate everything; returns iterations and whether the last one moved nothing."""
        self._begin()
        unit, since, step, moved = _Unit(self._usual_slope()), 0, 0.0 if self.is_begun else np.inf, np.inf
        for iteration in range(1, MOST_ITERATIONS + 1):
            scores = self.sweep()
            if self.has_unit and (
                (since >= MOST_SETTLING and moved < UNSETTLED) or moved < max(SETTLED * abs(step), STEP)
            ):
                step = unit.step(self._unit(), self._derivative_by_unit(scores))
                self.unit_variance = unit.variance()
                if max(moved, abs(step)) < 2 * STEP:
                    return iteration, True
                self._stretch(float(np.exp(step)))
                since, moved = 0, np.inf
                continue
            before = self._shape()
            moved = self._move_effects()
            self._move_thresholds()
            self._move_variances(scores)
            since += 1
            if not self.has_unit:
                # Sds may be known badly then; what is asked for does not hang on them.
                if moved < STEP / 2 and since >= MOST_SETTLING:
                    return iteration, True
                continue
            moved = max(moved, float(np.abs(self._shape() - before).max()))
        return MOST_ITERATIONS, False

    def _derivative_by_unit(self, scores: np.ndarray) -> float:
        """Of the log likelihood by the logarithm of the unit: all else settles soon, and the unit would creep."""
        total = 2 * scores[2] + (2 * scores[0] if self.has_second_marks else 0.0)
        for s, threshold in enumerate(self.threshold):
            if len(threshold):
                expected, observed, _ = self._above(s)
                total += threshold @ (expected - observed)
        return float(total)

    def _above(self, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Marks in or above each category but the first: expected, observed, and their probability by point."""
        data = self.data
        above = self.probabilities(scale)[1][::-1].cumsum(axis=0)[::-1][1:]
        count = np.bincount(data.category[data.scale == scale], minlength=data.most[scale] + 1)
        return above @ self.counts[scale], count[::-1].cumsum()[::-1][1:], above

    def _unit(self) -> float:
        return 0.5 * float(np.log(np.mean(np.concatenate(self.threshold) ** 2)))

    def _usual_slope(self) -> float:
        """Of the derivative by the unit, which second marks tell above all."""
        return -0.6 * max(float((np.diff(self.data.hand_in_start) > 1).sum()), 50.0)

    def _stretch(self, factor: float) -> None:
        """Everything in another unit."""
        for effects in (self.item, self.cell, self.grader, self.centre, self.width, *self.threshold):
            effects *= factor
        self.site /= [factor**2, factor]
        self.learner_variance *= factor**2
        self.item_variance *= factor**2
        self.grader_variance *= factor**2
        if self.has_second_marks:
            self.hand_in_variance *= factor**2

    def sweep(self) -> np.ndarray:
        """Moments of learners and hand-ins given the effects."""
        from dagster_project.stats.item_response import facet_kernels as kernels

        data, scores = self.data, np.zeros(4)
        total, expected, variance = self.tables()
        # The difficulty by all hand-ins but the one in question: else it would agree with itself.
        own, begins = self._free_weight(), data.hand_in_start[:-1]
        item = np.bincount(data.item, own, len(self.item)) + 1 / self.item_variance
        left = 1 / (item[data.item[begins]] - np.add.reduceat(own, begins))
        effect = self.effects() + (left * np.add.reduceat(self.residual, begins))[data.hand_in]
        kernels.expect(
            data.learner_start, data.hand_in_start, data.category, data.scale, effect, total, expected, variance,
            self.node, self.log_weight, self.learner_variance, self.hand_in_variance, left, self.site, self.centre,
            self.width, self.learner_moment, self.residual, self.weight, self.counts, scores,
        )  # fmt: skip
        return scores

    def _begin(self) -> None:
        """Thresholds from the marginal frequencies: as if all distances were zero."""
        data = self.data
        if self.is_begun:
            return
        for s, most in enumerate(data.most):
            inside = data.scale == s
            count = np.bincount(data.category[inside], minlength=most + 1).astype(float)
            if most:
                start = np.log(count[:-1] / count[1:])
                self.threshold[s] = start - start.mean()
                self.item[self.scale_of_item == s] = start.mean()
        if self.has_unit:
            usual = USUAL_SPACING * np.sqrt((data.most.max() ** 2 - 1) / 12)
            self._stretch(float(usual / np.exp(self._unit())))
            self.learner_variance, self.hand_in_variance = 0.25, 2.0 if self.has_second_marks else SMALL

    def _shape(self) -> np.ndarray:
        sds = np.sqrt([self.learner_variance, self.hand_in_variance, self.item_variance, self.grader_variance])
        return np.concatenate([sds, *self.threshold])

    def _move_effects(self) -> float:
        """One Newton step for difficulties and severities; returns the root mean square change of marks."""
        data = self.data
        known = data.grader >= 0
        of_grader = np.bincount(data.grader[known], self.residual[known], len(self.grader))
        gradient = np.concatenate(
            [
                -np.bincount(data.item, self.residual, len(self.item)) - self._penalty(self.item),
                -np.bincount(data.cell, self.residual, data.cell_count) - SMALL * self.cell,
                -of_grader[: len(self.grader)] - self.grader / self.grader_variance,
            ]
        )
        step = self.solve(gradient[:, None], TOLERANCE)[:, 0]
        step = np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        items, cells = len(self.item), data.cell_count
        self.item += step[:items]
        self.cell += step[items : items + cells]
        self.grader += step[items + cells :]
        # What a hand-in says of its learner moves along with what is held against it.
        moved = step[:items][data.item] + step[items : items + cells][data.cell]
        if len(self.grader):
            moved += np.where(known, step[items + cells :][data.grader], 0.0)
        mass = np.bincount(data.hand_in, self.weight)
        by_hand_in = np.bincount(data.hand_in, self.weight * moved) / mass
        self.site[:, 1] += self.site[:, 0] * by_hand_in
        of_item, _, of_grader = self._diagonal()
        if len(self.grader):
            self.grader_variance = _variance(self.grader, of_grader, self.grader_variance, 0)
        deviation = self.item - self._group_mean(self.item)[self.group]
        self.item_variance = _variance(deviation, of_item, self.item_variance, len(self.in_group))
        return float(np.sqrt(np.mean(moved**2)))

    def _move_thresholds(self) -> None:
        """A Newton step within the unit."""
        data, unit = self.data, self._unit() if self.has_unit else 0.0
        for s, most in enumerate(data.most):
            if not most:
                continue
            expected, observed, above = self._above(s)
            k = np.arange(most)
            information = expected[np.maximum.outer(k, k)] - (above * self.counts[s]) @ above.T
            step = np.linalg.lstsq(information, expected - observed, rcond=1e-10)[0]
            threshold = self.threshold[s] + np.clip(step, -1, 1)
            self.item[self.scale_of_item == s] += threshold.mean()
            self.threshold[s] = threshold - threshold.mean()
        if self.has_unit:
            factor = np.exp(unit - self._unit())
            for threshold in self.threshold:
                threshold *= factor

    def _move_variances(self, scores: np.ndarray) -> None:
        """Scoring steps by the sums of squared derivatives (Berndt, Hall, Hall and Hausman 1974).

        Shortened: of learners with one hand-in both variances say the same.
        """
        hand_in = scores[0] / max(scores[1], 1e-9) if self.has_second_marks else 0.0
        learner = scores[2] / max(scores[3], 1e-9)
        steps = np.exp(np.clip(0.7 * np.array([hand_in, learner]), -0.7, 0.7))
        self.hand_in_variance = float(np.clip(self.hand_in_variance * steps[0], SMALL, 400))
        self.learner_variance = float(np.clip(self.learner_variance * steps[1], SMALL, 400))

    # Linear algebra

    def _group_mean(self, item: np.ndarray) -> np.ndarray:
        return np.bincount(self.group, item, len(self.in_group)) / self.in_group

    def _penalty(self, item: np.ndarray) -> np.ndarray:
        return (item - self._group_mean(item)[self.group]) / self.item_variance

    def _diagonal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Information of each effect were the others known: items, cells, graders."""
        data, free = self.data, self._free_weight()
        # Beside other marks of the hand-in, one tells more of its grader than alone.
        own = self.weight - self.hand_in_variance * self.weight * free
        known = data.grader >= 0
        grader = np.bincount(data.grader[known], own[known], len(self.grader))[: len(self.grader)]
        return np.bincount(data.item, free, len(self.item)), np.bincount(data.cell, own, data.cell_count), grader

    def _free_weight(self) -> np.ndarray:
        """Information of each mark about an effect, the hand-in's own quality unknown."""
        mass = np.add.reduceat(self.weight, self.data.hand_in_start[:-1])
        return self.weight / (1 + self.hand_in_variance * mass[self.data.hand_in])

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """Information and penalties times vectors, (effects, vectors)."""
        from dagster_project.stats.item_response import facet_kernels as kernels

        data = self.data
        items, cells = len(self.item), data.cell_count
        parts = [np.ascontiguousarray(x) for x in np.split(vectors, [items, items + cells])]
        out = [np.zeros_like(x) for x in parts]
        kernels.information_times(
            data.learner_start, data.hand_in_start, data.item, data.cell, data.grader, self.weight,
            self.learner_variance, self.hand_in_variance, *parts, *out,
        )  # fmt: skip
        for c in range(vectors.shape[1]):
            out[0][:, c] += self._penalty(parts[0][:, c])
        out[1] += SMALL * parts[1]
        out[2] += parts[2] / self.grader_variance
        return np.concatenate(out)

    def solve(self, right: np.ndarray, tolerance: float, most: int = 400) -> np.ndarray:
        """Conjugate gradients with a diagonal preconditioner, column by column at once."""
        item, cell, grader = self._diagonal()
        scale = np.concatenate(
            [item + 1 / self.item_variance, np.maximum(cell, SMALL), grader + 1 / self.grader_variance]
        )
        inverse = (1 / scale)[:, None]
        solution = np.zeros_like(right)
        residual = right.copy()
        scaled = inverse * residual
        direction = scaled.copy()
        product = (residual * scaled).sum(axis=0)
        goal = np.maximum(product, 1e-30) * tolerance**2
        for _ in range(most):
            if (product <= goal).all():
                break
            image = self.times(direction)
            curvature = (direction * image).sum(axis=0)
            length = np.where(curvature > 0, product / np.where(curvature > 0, curvature, 1), 0)
            solution += length * direction
            residual -= length * image
            scaled = inverse * residual
            new = (residual * scaled).sum(axis=0)
            direction = scaled + (new / np.maximum(product, 1e-300)) * direction
            product = new
        return solution


def _variance(effects: np.ndarray, information: np.ndarray, variance: float, means: int) -> float:
    """Next variance of random effects, by those degrees of freedom that the data determine (MacKay 1992)."""
    freedom = np.sum(information / (information + 1 / variance)) - means
    found = float(effects @ effects / max(freedom, 1.0))
    return max(found, variance / 2, 1e-3)


class _Unit:
    """Secant steps towards the zero of a falling derivative."""

    def __init__(self, slope: float) -> None:
        self._points: list[tuple[float, float]] = []
        self._slope = slope

    def step(self, place: float, derivative: float) -> float:
        for earlier, before in self._points[-1:]:
            slope = (derivative - before) / (place - earlier) if place != earlier else 0.0
            if slope < 0:
                # What has not settled yet bends a short secant.
                self._slope = -float(np.sqrt(self._slope * np.clip(slope, 4 * self._slope, self._slope / 4)))
        self._points.append((place, derivative))
        return float(np.clip(-derivative / self._slope, -0.3, 0.3))

    def variance(self) -> float:
        """Of the logarithm of the unit."""
        return -1 / self._slope
