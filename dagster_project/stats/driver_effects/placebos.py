"""Drivers handed out anew at random: how often is "no effect" rejected when there is none?

Whole blocks are reassigned, because what makes the errors large stays together: courses swap their values within the
program; learners swap all their values within program and first term (those with as many rows). A permutation row by
row would cut the tie between the rows of a learner or a course, and would show nothing.

The model stays that of the driver: its selected controls, absorbed effects and kind of standard error. Who swaps with
few others often keeps what they had, and so part of the real effect: the effect that was found is therefore taken out
of the outcome first, and first terms with few learners swap with the others of their program. All draws come from the
same pass over the rows, or need none.

References:
    [1] MacKinnon, Nielsen and Webb (2023), J. Applied Econometrics 38, 671-694: eq. 14, the jackknife from cluster
        sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.fits import Fits
from dagster_project.stats.double_lasso.gram import (
    ClusterGrams,
    Dimensions,
    SampleGrams,
    centred,
    in_sample,
    joint_codes,
    take,
)
from dagster_project.stats.double_lasso.task import Task

DRAWS = 200
CHUNK_BYTES = 128 * 2**20  # of the reassigned row numbers that are held at a time
SMALL_STRATUM = 30  # learners; smaller strata of a program are joined
LEARNER_SHARE = 0.6  # of the noise's variance that is the same for all rows of a learner


@dataclass(frozen=True)
class Draws:
    """Result of the draws of one model: (draws,) arrays."""

    effects: np.ndarray
    std_errors: np.ndarray
    p_values: np.ndarray

    @classmethod
    def of(cls, effects: np.ndarray, variances: np.ndarray, degrees: float) -> Draws:
        """Draws from effects and their variances, same shape, with two-sided p-values by Student's t."""
        from scipy import stats

        std_errors = np.sqrt(variances)
        return cls(effects, std_errors, 2 * stats.t.sf(np.abs(effects) / std_errors, degrees))


def _controls_and_outcome(fits: Fits, task: Task) -> np.ndarray:
    """Weights (columns of the design, controls + 1) of the selected controls and of the outcome without the effect."""
    weights = np.eye(len(fits.design.columns))[:, [*task.selected, fits.outcome]]
    weights[task.driver, -1] = -task.effect
    return weights


# Drivers fixed within clusters: courses swap


def swap_clusters(
    fits: Fits, positions: Sequence[int], *, draws: int = DRAWS, seed: int = 0, noise: bool = False
) -> dict[int, Draws]:
    """Clusters of one-way models swap their mean value of the driver within the absorbed group; no pass of its own.

    With ``noise`` each cluster draws a normal number instead.
    """
    states = {}
    for position in positions:
        task = fits.tasks[position]
        sample, grams = fits.samples[task.sample], fits.grams[task.sample, task.dims[0]]
        rng = np.random.default_rng([seed, position])
        if noise:
            values = rng.standard_normal((draws, len(grams.there)))
        else:
            values = _swapped(grams, task.driver, sample.group_means[task.driver], draws, rng)
        states[position] = _Jackknife(fits, task, _ByCluster(fits, task, values))
    return _jackknifed(fits, states)


class _ByCluster:
    """Sums of a drawn driver that is the same for all rows of a cluster, from its values (draws, clusters)."""

    def __init__(self, fits: Fits, task: Task, values: np.ndarray) -> None:
        from dagster_project.stats.double_lasso import kernels

        sample, self.grams = fits.samples[task.sample], fits.grams[task.sample, task.dims[0]]
        self.columns = self.grams.cell_sums @ _controls_and_outcome(fits, task)[self.grams.columns]
        # the driver in each cell, around the mean of its group
        cells, rows = values[:, self.grams.cell_cluster], self.grams.cell_rows
        group_sums = np.zeros((len(values), len(sample.group_rows)))
        kernels.add_by_code(group_sums, self.grams.cell_group, cells * rows)
        self.values = cells - (group_sums / np.maximum(sample.group_rows, 1))[:, self.grams.cell_group]

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        return self.columns.T @ self.values.T, (self.values**2 @ self.grams.cell_rows)

    def of(self, cells: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values, rows = self.values[:, cells], self.grams.cell_rows[cells]
        return values[:, :, None] * self.columns[cells], values**2 * rows, values * rows


def _swapped(grams: SampleGrams, driver: int, means: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, clusters) the clusters' mean values in a new order within their group, that of most of their rows."""
    clusters = len(grams.there)
    column = int(np.flatnonzero(grams.columns == driver)[0])
    totals, rows = np.zeros(clusters), np.zeros(clusters)
    np.add.at(totals, grams.cell_cluster, grams.cell_sums[:, column] + grams.cell_rows * means[grams.cell_group])
    np.add.at(rows, grams.cell_cluster, grams.cell_rows)
    home = np.zeros(clusters, dtype=np.int64)
    for cell in np.argsort(grams.cell_rows, kind="stable"):
        home[grams.cell_cluster[cell]] = grams.cell_group[cell]
    values = np.empty((draws, clusters))
    for source, target in _orders(home, draws, rng):
        values[:, target] = (totals / rows)[source]
    return values


def _orders(strata: np.ndarray, draws: int, rng: np.random.Generator):
    """For each stratum, members in new orders (draws, size) and the members (size,) that take their place."""
    base = np.argsort(strata, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(strata[base])) + 1, len(base))
    start = 0
    for end in ends:
        members = base[start:end]
        yield members[np.argsort(rng.random((draws, len(members))), axis=1)], members
        start = end


class _Products(Protocol):
    """Sums of the drawn drivers of one model, around group means, by cell (a cluster within an absorbed group)."""

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """Over all cells: (columns, draws) times the controls and the outcome, (draws,) times itself."""
        ...

    def of(self, cells: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(draws, cells, columns) times the controls and the outcome, (draws, cells) times itself, and by itself."""
        ...


class _Jackknife:
    """Effects and delete-one-cluster jackknife errors ([1]) of drawn drivers, the clusters taken in part by part."""

    def __init__(self, fits: Fits, task: Task, products: _Products) -> None:
        self.task, self.sample, self.products = task, fits.samples[task.sample], products
        self.weights = _controls_and_outcome(fits, task)
        self.total = self.weights.T @ self.sample.scatter @ self.weights
        cross, square = products.total()
        self.cross, self.square = cross, square
        self.effects = self._slopes(self.total, cross, square)
        self.squares = np.zeros(len(self.effects))
        self.clusters, self.cells = 0, 0

    def add(self, grams: ClusterGrams) -> None:
        """Take in a part of the clusters, with all columns that any regression uses."""
        rest = grams.project(self.weights)
        clusters = len(rest.scatter)
        per_cluster = 8 * 4 * len(self.effects) * rest.scatter.shape[1] * max(1, len(rest.cell_rows) // clusters)
        step = max(1, CHUNK_BYTES // per_cluster)
        for first in range(0, clusters, step):
            part, cells = rest.part(first, min(first + step, clusters))
            self._add(part, slice(self.cells + cells.start, self.cells + cells.stop))
        self.clusters += clusters
        self.cells += len(rest.cell_rows)

    def _add(self, rest: ClusterGrams, cells: slice) -> None:
        crossed, squared, summed = self.products.of(cells)
        rows_left = self.sample.group_rows[rest.cell_group] - rest.cell_rows
        shrink = np.where(rows_left > 0, 1 / np.maximum(rows_left, 1), 0.0)

        def by_cluster(cells: np.ndarray) -> np.ndarray:
            """Sums over the cells of each cluster, which comes first: (clusters, ..., draws)."""
            sums = np.zeros((len(rest.scatter), *cells.shape[1:]))
            np.add.at(sums, rest.cell_cluster, cells)
            return sums

        # without cluster c: what it held is gone, and the groups that lose rows have new means
        left = self.total - rest.scatter
        left -= by_cluster(np.einsum("cj,ck,c->cjk", rest.cell_sums, rest.cell_sums, shrink))
        summed_left = (summed * shrink).T  # (cells, draws)
        cross = np.moveaxis(crossed, 0, 2)  # (cells, columns, draws)
        cross_left = self.cross - by_cluster(cross + rest.cell_sums[:, :, None] * summed_left[:, None, :])
        square_left = self.square - by_cluster(squared.T + summed.T * summed_left)
        without = self._slopes(left, cross_left, square_left)
        self.squares += np.square(without - self.effects).sum(axis=0)

    def _slopes(self, matrix: np.ndarray, with_driver: np.ndarray, driver: np.ndarray) -> np.ndarray:
        """The driver's coefficient (…, draws) from sums of products.

        Those of the controls and the outcome (…, columns, columns), of these with the driver (…, columns, draws) and of
        the driver with itself (…, draws).
        """
        controls = self.total.shape[0] - 1
        if not controls:
            return with_driver[..., -1, :] / driver
        scale = np.sqrt(np.maximum(np.diag(self.total)[:controls], 1e-300))
        inner = matrix[..., :controls, :controls] / np.outer(scale, scale)
        inverse = np.linalg.pinv(inner, rcond=1e-10, hermitian=True) / np.outer(scale, scale)
        on_controls = inverse @ with_driver[..., :controls, :]
        driver = driver - np.einsum("...jb,...jb->...b", on_controls, with_driver[..., :controls, :])
        explained = np.einsum("...j,...jb->...b", matrix[..., -1, :controls], on_controls)
        return (with_driver[..., -1, :] - explained) / driver

    def draws(self) -> Draws:
        variances = (self.clusters - 1) / self.clusters * self.squares
        degrees = inference.cluster_degrees(self.sample.clusters[self.task.dims[0]], self.sample.groups)
        return Draws.of(self.effects, variances, degrees)


def _jackknifed(fits: Fits, states: Mapping[int, _Jackknife]) -> dict[int, Draws]:
    """The draws of models by position, each part of the clusters asked for once."""
    by_key: dict[tuple[int, int], list[_Jackknife]] = {}
    for state in states.values():
        by_key.setdefault((state.task.sample, state.task.dims[0]), []).append(state)
    for key, members in by_key.items():
        for part in fits.grams[key]:
            for state in members:
                state.add(part)
    return {position: state.draws() for position, state in states.items()}


# Drivers that vary within clusters: learners swap


@dataclass
class _Rows:
    """What the draws need of one sample's rows, all of them."""

    values: dict[int, np.ndarray]  # by model: the driver
    unit: np.ndarray  # (rows,) number of the learner, in the order of the rows
    stratum: np.ndarray  # (rows,)
    group: np.ndarray  # (rows,) absorbed group


def swap_learners(
    fits: Fits,
    positions: Sequence[int],
    *,
    stratum: str,
    unit: str | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    noise: bool = False,
) -> dict[int, Draws]:
    """Learners swap the vectors of all their drivers within a stratum; two passes, and one for the values.

    Memory: 8 bytes x rows x models for the values, and some `CHUNK_BYTES` for the draws, which are split to keep to it.

    Args:
        positions: models, all with one or two cluster dimensions
        stratum: cluster column of the fits within which values are swapped (program and first term)
        unit: cluster column whose rows stay together, in a stream ordered by it; None: each row is its own
        noise: draw normal numbers that correlate `LEARNER_SHARE` within a unit instead
    """
    stratum_dimension = fits.clusters.index(stratum)
    unit_dimension = None if unit is None else fits.clusters.index(unit)
    by_sample: dict[int, list[int]] = {}
    for position in positions:
        by_sample.setdefault(fits.tasks[position].sample, []).append(position)
    rows_of = _collect(fits, by_sample, stratum_dimension, unit_dimension)
    found: dict[int, list[Draws]] = {position: [] for position in positions}
    longest = max((len(rows.unit) for rows in rows_of.values()), default=1)
    held = sum(_Drawn(fits, position, 0).numbers for position in positions)
    chunk = max(1, min(draws, CHUNK_BYTES // (8 * longest), 2 * CHUNK_BYTES // (8 * max(held, 1))))
    for first in range(0, draws, chunk):
        count = min(chunk, draws - first)
        drawn = {
            k: (_noise if noise else _reassigned)(rows_of[k], count, np.random.default_rng([seed, first, k]))
            for k in by_sample
        }
        for position, result in _draw(fits, by_sample, rows_of, drawn, count).items():
            found[position].append(result)
    return {
        position: Draws(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("effects", "std_errors", "p_values"))
        )
        for position, parts in found.items()
    }


def _collect(
    fits: Fits, by_sample: dict[int, list[int]], stratum_dimension: int, unit_dimension: int | None
) -> dict[int, _Rows]:
    parts: dict[int, list[tuple[np.ndarray, ...]]] = {k: [] for k in by_sample}
    for block in fits.design.blocks():
        for k, members in by_sample.items():
            rows = in_sample(block, k)
            stratum = take(block.clusters[stratum_dimension], rows)
            unit = np.arange(len(stratum)) if unit_dimension is None else take(block.clusters[unit_dimension], rows)
            if len(stratum):
                changed = np.append(True, unit[1:] != unit[:-1])
                drivers = [fits.tasks[p].driver for p in members]
                parts[k].append((take(block.values[drivers], rows), changed, stratum, take(block.groups, rows)))
    collected = {}
    for k, members in by_sample.items():
        values, changed, stratum, group = (np.concatenate(list(part), axis=-1) for part in zip(*parts[k], strict=True))
        collected[k] = _Rows(dict(zip(members, values, strict=True)), np.cumsum(changed) - 1, stratum, group)
    return collected


def _reassigned(rows: _Rows, draws: int, rng: np.random.Generator) -> Callable[[int, slice], np.ndarray]:
    """Row numbers (draws, rows) whose values each row gets; returned as the values of a model in some rows."""
    starts = np.flatnonzero(np.diff(rows.unit, prepend=-1))
    sizes = np.diff(np.append(starts, len(rows.unit)))
    strata = _numbered(rows.stratum[starts], sizes)
    small = np.bincount(strata)[strata] < SMALL_STRATUM
    strata[small] = strata.max() + 1 + _numbered(rows.group[starts], sizes)[small]
    given = np.empty((draws, len(starts)), dtype=np.int32)
    for source, target in _orders(strata, draws, rng):
        given[:, target] = source
    offset = np.arange(len(rows.unit)) - starts[rows.unit]
    index = (starts[given][:, rows.unit] + offset).astype(np.int32)
    return lambda position, part: rows.values[position][index[:, part]]


def _numbered(*keys: np.ndarray) -> np.ndarray:
    """A number for each combination of the keys (units,)."""
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].reshape(-1)


def _noise(rows: _Rows, draws: int, rng: np.random.Generator) -> Callable[[int, slice], np.ndarray]:
    own = rng.standard_normal((draws, int(rows.unit[-1]) + 1), dtype=np.float32)
    occasion = rng.standard_normal((draws, len(rows.unit)), dtype=np.float32)
    drawn = np.sqrt(LEARNER_SHARE) * own[:, rows.unit] + np.sqrt(1 - LEARNER_SHARE) * occasion
    return lambda _position, part: drawn[:, part].astype(np.float64)


class _Drawn:
    """The draws of one model, block by block."""

    def __init__(self, fits: Fits, position: int, draws: int) -> None:
        self.fits, self.task, self.draws = fits, fits.tasks[position], draws
        self.sample = fits.samples[self.task.sample]
        self.columns = np.array([*self.task.selected, fits.outcome], dtype=np.int64)
        self.is_jackknifed = self.task.kind == "jackknife"
        self.weights = _controls_and_outcome(fits, self.task)
        groups = len(self.sample.group_rows)
        self.group_sums = np.zeros((draws, groups))
        self.squares, self.cross = np.zeros(draws), np.zeros((draws, len(self.columns)))
        self.numbers = 0  # that are held for each draw
        if self.is_jackknifed:
            self.grams = fits.grams[self.task.sample, self.task.dims[0]]
            cells = len(self.grams.cells)
            self.numbers = cells * (len(self.columns) + 2)
            self.cell_cross = np.zeros((draws, cells, len(self.columns)))
            self.cell_squares, self.cell_sums = np.zeros((draws, cells)), np.zeros((draws, cells))
            return
        self.dimensions: list[Dimensions] = [(d,) for d in self.task.dims]
        if len(self.task.dims) == 2:
            self.dimensions.append(tuple(sorted(self.task.dims)))
        self.meat = {dims: np.zeros(draws) for dims in self.dimensions}
        sizes = {
            dims: int(np.prod([fits.design.n_clusters[d] for d in dims]))
            for dims in self.dimensions
            if not any(fits.design.contiguous[d] for d in dims)
        }
        self.numbers = sum(sizes.values())
        self.score_sums = {dims: np.zeros((draws, size)) for dims, size in sizes.items()}

    def regressors(self, z: np.ndarray) -> np.ndarray:
        """The controls and, last, the outcome without the effect that was found."""
        x = z[self.columns]
        x[-1] -= self.task.effect * z[self.task.driver]
        return x

    def add_moments(self, block, rows, z: np.ndarray, driver: np.ndarray) -> None:
        from dagster_project.stats.double_lasso import kernels

        groups = take(block.groups, rows)
        kernels.add_by_code(self.group_sums, groups, driver)
        x = self.regressors(z)
        if not self.is_jackknifed:
            self.squares += np.square(driver).sum(axis=1)
            self.cross += driver @ x.T
            return
        clusters = take(block.clusters[self.task.dims[0]], rows)
        cells = np.searchsorted(self.grams.cells, clusters * np.int64(self.fits.design.n_groups) + groups)
        kernels.add_by_code(self.cell_sums, cells, driver)
        kernels.add_by_code(self.cell_squares, cells, np.square(driver))
        order = np.argsort(cells, kind="stable")
        bounds = np.flatnonzero(np.diff(cells[order], prepend=-1, append=-2))
        for a, b in pairwise(bounds):
            members = order[a:b]
            self.cell_cross[:, cells[members[0]]] += driver[:, members] @ x[:, members].T

    def centre(self) -> None:
        """Sums by cell around the means of the absorbed groups."""
        grams = self.grams
        means = (self.group_sums / np.maximum(self.sample.group_rows, 1))[:, grams.cell_group]
        self.cell_squares += means**2 * grams.cell_rows - 2 * means * self.cell_sums
        self.cell_sums -= means * grams.cell_rows
        self.cell_cross -= means[:, :, None] * (grams.cell_sums @ self.weights[grams.columns])

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        return self.cell_cross.sum(axis=1).T, self.cell_squares.sum(axis=1)

    def of(self, cells: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.cell_cross[:, cells], self.cell_squares[:, cells], self.cell_sums[:, cells]

    def solve(self) -> None:
        """Effects from the moments, with what the scores need."""
        total = self.weights.T @ self.sample.scatter @ self.weights
        self.means = self.group_sums / np.maximum(self.sample.group_rows, 1)
        squares = self.squares - (self.means * self.group_sums).sum(axis=1)
        scale = np.sqrt(np.maximum(np.diag(total)[:-1], 1e-300))
        inner = total[:-1, :-1] / np.outer(scale, scale)
        inverse = np.linalg.pinv(inner, rcond=1e-10, hermitian=True) / np.outer(scale, scale)
        self.on_controls = self.cross[:, :-1] @ inverse  # (draws, controls)
        self.outcome_weights = np.append(-inverse @ total[:-1, -1], 1.0)
        self.driver_squares = squares - (self.on_controls * self.cross[:, :-1]).sum(axis=1)
        self.effects = self.cross @ self.outcome_weights / self.driver_squares

    def add_scores(self, block, rows, z: np.ndarray, driver: np.ndarray) -> None:
        from dagster_project.stats.double_lasso import kernels

        x = self.regressors(z)
        driver = driver - self.means[:, take(block.groups, rows)] - self.on_controls @ x[:-1]
        scores = driver * (self.outcome_weights @ x - self.effects[:, None] * driver)
        for dims in self.dimensions:
            codes = take(joint_codes(self.fits.design, block, dims), rows)
            if dims in self.score_sums:
                kernels.add_by_code(self.score_sums[dims], codes, scores)
                continue
            _, codes = np.unique(codes, return_inverse=True)
            within = np.zeros((self.draws, int(codes.max()) + 1))
            kernels.add_by_code(within, codes, scores)
            self.meat[dims] += np.square(within).sum(axis=1)

    def clustered(self) -> Draws:
        """As `double_lasso` has it: two ways, and never below the larger one."""
        task, sample = self.task, self.sample
        for dims, sums in self.score_sums.items():
            self.meat[dims] = np.square(sums).sum(axis=1)
        counts = [sample.clusters[d] for d in task.dims]
        groups = 1 if any(count.contain_groups for count in counts) else sample.groups
        clusters = min(count.clusters for count in counts)
        factor = inference.cluster_factor(task.n, task.rank + 1 + groups, clusters)
        one_way = [self.meat[(d,)] for d in task.dims]
        variance = np.maximum.reduce(one_way)
        if len(task.dims) == 2:
            variance = np.maximum(sum(one_way) - self.meat[tuple(sorted(task.dims))], variance)
        degrees = min(inference.cluster_degrees(count, sample.groups) for count in counts)
        return Draws.of(self.effects, factor * variance / self.driver_squares**2, degrees)


def _draw(
    fits: Fits,
    by_sample: dict[int, list[int]],
    rows_of: dict[int, _Rows],
    drawn: dict[int, Callable[[int, slice], np.ndarray]],
    count: int,
) -> dict[int, Draws]:
    states = {position: _Drawn(fits, position, count) for members in by_sample.values() for position in members}

    def each_block():
        offset = dict.fromkeys(by_sample, 0)
        for block in fits.design.blocks():
            for k, members in by_sample.items():
                rows = in_sample(block, k)
                z = centred(block, rows, fits.samples[k])
                part = slice(offset[k], offset[k] + z.shape[1])
                offset[k] = part.stop
                if z.shape[1]:
                    yield block, rows, z, part, members, drawn[k]

    for block, rows, z, part, members, values in each_block():
        for position in members:
            states[position].add_moments(block, rows, z, values(position, part))
    rest = {position: state for position, state in states.items() if not state.is_jackknifed}
    for state in rest.values():
        state.solve()
    if rest:
        for block, rows, z, part, members, values in each_block():
            for position in members:
                if position in rest:
                    rest[position].add_scores(block, rows, z, values(position, part))
    jackknifed = {}
    for position, state in states.items():
        if state.is_jackknifed:
            state.centre()
            jackknifed[position] = _Jackknife(fits, state.task, state)
    return {position: state.clustered() for position, state in rest.items()} | _jackknifed(fits, jackknifed)
