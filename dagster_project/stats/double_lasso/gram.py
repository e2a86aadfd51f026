"""Sums over the rows of a design, each taken in one pass whatever the number of regressions.

A design yields blocks of rows (see `design`). Three kinds of sums are enough for every lasso, every final regression
and every standard error: `moments`, `score_squares` (loadings) and `final_sums`. Absorbed effects are partialled out by
centring each block at its groups' means, which `moments` finds first.

A cluster dimension is handled in one of two ways. `design.contiguous`: the blocks hold whole clusters, so that a
cluster's sum is finished with its block. Else: an array over all clusters, or, where that would take more than
`SLICE_BYTES`, over as many as fit, and a pass for each such slice. Pairs of a cluster and an absorbed group are held
only where they have rows. So the memory depends on the columns, not on how many clusters there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dagster_project.stats.double_lasso.design import Block, Design

CLUSTER_LEVEL = 1e-6  # share of a column's variance within clusters up to which it is a property of the cluster
SHORT_SEGMENT = 24  # rows a cluster in a block below which a compiled loop beats a matrix product for each
SLICE_BYTES = 256 * 2**20  # of sums by cluster that are held at a time


@dataclass
class ClusterCounts:
    """How the clusters of one dimension lie over the absorbed groups, within one sample.

    A cell is a pair of a cluster and a group that has rows; contiguous clusters have none.
    """

    clusters: int
    largest_groups_per_cluster: int
    largest_clusters_per_group: int
    groups: int  # of the design
    cells: np.ndarray  # (cells,) cluster x groups + group, ascending
    cell_rows: np.ndarray  # (cells,) number of rows

    @property
    def inside_groups(self) -> bool:
        """Every cluster lies in one absorbed group."""
        return self.largest_groups_per_cluster <= 1

    @property
    def contain_groups(self) -> bool:
        """Every absorbed group lies in one cluster."""
        return self.largest_clusters_per_group <= 1


@dataclass
class Moments:
    """Moments of one sample: ``m`` columns of the design, ``g`` absorbed groups (1 without)."""

    rows: int
    group_rows: np.ndarray  # (g,)
    group_means: np.ndarray  # (m, g), of the shifted columns
    scatter: np.ndarray  # (m, m) sums of products around the group means
    spread: np.ndarray  # (m,) sums of squares around the sample's mean
    raw: np.ndarray  # (m,) sums of squares around the shift; says how far `spread` can be trusted
    modal_rows: np.ndarray  # (drivers,) rows at the driver's minimum or its maximum, whichever holds more
    clusters: list[ClusterCounts]

    @property
    def groups(self) -> int:
        """Absorbed groups that have rows in the sample."""
        return int(np.count_nonzero(self.group_rows))

    @property
    def scale(self) -> np.ndarray:
        """Standard deviations (m,) around the group means; 1 where there is no variation."""
        scale = np.sqrt(np.maximum(np.diag(self.scatter), 0) / max(self.rows, 1))
        return np.where(scale > 0, scale, 1.0)

    @property
    def correlation(self) -> np.ndarray:
        """Correlations (m, m) within the absorbed groups; 0 for a column without variation."""
        scale = self.scale
        return self.scatter / (max(self.rows, 1) * np.outer(scale, scale))


def _segments(codes: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Order that sorts the codes (None if they are sorted) and the starts of the runs, with the end as last one."""
    order = None
    if np.any(codes[1:] < codes[:-1]):
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
    return order, np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])


def in_sample(block: Block, sample: int) -> np.ndarray | None:
    """Row numbers of the sample within the block; None for all."""
    kept = block.samples[sample]
    return None if kept.all() else np.flatnonzero(kept)


def take(array: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """These rows, which lie along the last axis; None: all."""
    return array if rows is None else np.take(array, rows, axis=-1)


def centred(block: Block, rows: np.ndarray | None, moments: Moments) -> np.ndarray:
    """The block's values (m, rows) less the sample's group means."""
    from dagster_project.stats.double_lasso import kernels

    values = take(block.values, rows)
    if moments.group_means.shape[1] == 1:
        return values - moments.group_means
    return kernels.centre(values, take(block.groups, rows), moments.group_means)


class _Counter:
    """Clusters of one dimension and sample against the absorbed groups, counted block by block."""

    def __init__(self, design: Design, dimension: int) -> None:
        self.contiguous = design.contiguous[dimension]
        self.groups = design.n_groups
        self.clusters, self.per_cluster = 0, 0
        self.per_group = np.zeros(self.groups, dtype=np.int64)
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, codes: np.ndarray, groups: np.ndarray) -> None:
        cells, rows = np.unique(codes.astype(np.int64) * self.groups + groups, return_counts=True)
        if self.contiguous:
            self._count(cells)
            return
        self.parts.append((cells, rows))
        if len(self.parts) > 50:
            self.parts = [self._merged()]

    def _count(self, cells: np.ndarray) -> None:
        _, counts = np.unique(cells // self.groups, return_counts=True)
        self.clusters += len(counts)
        self.per_cluster = max(self.per_cluster, int(counts.max(initial=0)))
        np.add.at(self.per_group, cells % self.groups, 1)

    def _merged(self) -> tuple[np.ndarray, np.ndarray]:
        nothing = np.zeros(0, dtype=np.int64)
        cells, rows = (np.concatenate(part) for part in zip(*self.parts, (nothing, nothing), strict=True))
        cells, place = np.unique(cells, return_inverse=True)
        return cells, np.bincount(place, rows, len(cells)).astype(np.int64)

    def result(self) -> ClusterCounts:
        cells, rows = self._merged()
        if not self.contiguous:
            self._count(cells)
        per_group = int(self.per_group.max(initial=0))
        return ClusterCounts(self.clusters, self.per_cluster, per_group, self.groups, cells, rows)


def moments(design: Design) -> list[Moments]:
    """Moments of every sample of the design: one pass."""
    from dagster_project.stats.double_lasso import kernels

    m, g = len(design.columns), design.n_groups
    sizes = [np.zeros(g, dtype=np.int64) for _ in range(design.n_samples)]
    sums = [np.zeros((m, g)) for _ in sizes]
    products = [np.zeros((m, m)) for _ in sizes]
    lowest = [np.zeros(len(design.drivers), dtype=np.int64) for _ in sizes]
    highest = [np.zeros(len(design.drivers), dtype=np.int64) for _ in sizes]
    counters = [[_Counter(design, d) for d in range(len(design.contiguous))] for _ in sizes]
    for block in design.blocks():
        for k in range(design.n_samples):
            rows = in_sample(block, k)
            values, groups = take(block.values, rows), take(block.groups, rows)
            if not values.shape[1]:
                continue
            products[k] += values @ values.T
            if g == 1:
                sizes[k] += values.shape[1]
                sums[k][:, 0] += values.sum(axis=1)
            else:
                sizes[k] += np.bincount(groups, minlength=g)
                kernels.add_by_code(sums[k], groups, values)
            for position, driver in enumerate(design.drivers):
                lowest[k][position] += np.count_nonzero(values[driver] == design.driver_range[0][position])
                highest[k][position] += np.count_nonzero(values[driver] == design.driver_range[1][position])
            for counter, codes in zip(counters[k], block.clusters, strict=True):
                counter.add(take(codes, rows), groups)
    result = []
    for k, size in enumerate(sizes):
        n = int(size.sum())
        means = sums[k] / np.maximum(size, 1)
        raw = np.diag(products[k]).copy()
        spread = raw - sums[k].sum(axis=1) ** 2 / max(n, 1)
        scatter = products[k] - sums[k] @ means.T
        scatter = (scatter + scatter.T) / 2
        modal = np.maximum(lowest[k], highest[k])
        counts = [counter.result() for counter in counters[k]]
        result.append(Moments(n, size, means, scatter, spread, raw, modal, counts))
    return result


def _slices(count: int, passes: int) -> list[tuple[int, int]]:
    """Bounds (from, to) of about equal parts of so many clusters, one a pass."""
    return list(pairwise((np.arange(passes + 1) * count // passes).tolist()))


def _passes(size: int) -> int:
    return max(1, -(-size // SLICE_BYTES))


def score_squares(
    design: Design, samples: Sequence[Moments], requests: Sequence[tuple[int, int | None, np.ndarray]]
) -> list[np.ndarray]:
    """Mean squared scores, the squares of the lasso's loadings: one pass, more where clusters are in slices.

    For each request (sample, cluster dimension or None, weights (m, r)) an array (controls, r) of
    ``sum over clusters of (sum over the cluster's rows of z_j e_r)^2 / rows`` with residuals ``e = z @ weights``;
    without clusters each row is its own: Belloni et al. (2012, algorithm A.1) and (2016, eq. 2.5).
    """
    p = design.n_controls
    totals = [np.zeros((p, weights.shape[1])) for _, _, weights in requests]
    sizes = {
        i: design.n_clusters[d] for i, (_, d, _) in enumerate(requests) if d is not None and not design.contiguous[d]
    }
    passes = _passes(sum(8 * size * p * requests[i][2].shape[1] for i, size in sizes.items()))
    for number in range(passes):
        bounds = {i: _slices(size, passes)[number] for i, size in sizes.items()}
        by_cluster = {i: np.zeros((b - a, p, requests[i][2].shape[1])) for i, (a, b) in bounds.items()}
        wanted = range(len(requests)) if number == 0 else list(sizes)
        _add_squares(design, samples, requests, wanted, totals, by_cluster, bounds)
        for i, sums in by_cluster.items():
            totals[i] += np.einsum("gjr,gjr->jr", sums, sums)
    return [total / samples[request[0]].rows for total, request in zip(totals, requests, strict=True)]


def _add_squares(
    design: Design,
    samples: Sequence[Moments],
    requests: Sequence[tuple[int, int | None, np.ndarray]],
    wanted: Sequence[int],
    totals: list[np.ndarray],
    by_cluster: Mapping[int, np.ndarray],
    bounds: Mapping[int, tuple[int, int]],
) -> None:
    """One pass of `score_squares` for some requests: sums of the clusters within ``bounds``, squares of all others."""
    from dagster_project.stats.double_lasso import kernels

    p = design.n_controls
    for block in design.blocks():
        for sample in sorted({requests[i][0] for i in wanted}):
            rows = in_sample(block, sample)
            z = centred(block, rows, samples[sample])
            if not z.shape[1]:
                continue
            for index in wanted:
                of_sample, cluster, weights = requests[index]
                if of_sample != sample:
                    continue
                residuals = weights.T @ z
                if cluster is None:
                    totals[index] += np.square(z[:p]) @ np.square(residuals).T
                    continue
                codes = take(block.clusters[cluster], rows)
                order, starts = _segments(codes)
                zs, es = take(z[:p], order), take(residuals, order)
                if design.contiguous[cluster] and len(codes) < SHORT_SEGMENT * (len(starts) - 1):
                    kernels.add_squared_products(totals[index], zs, es, starts)
                    continue
                first = codes[starts[:-1]] if order is None else codes[order[starts[:-1]]]
                low, high = bounds.get(index, (0, 0))
                for code, a, b in zip(first, starts[:-1], starts[1:], strict=True):
                    if design.contiguous[cluster]:
                        totals[index] += np.square(zs[:, a:b] @ es[:, a:b].T)
                    elif low <= code < high:
                        by_cluster[index][code - low] += zs[:, a:b] @ es[:, a:b].T


@dataclass
class ClusterGrams:
    """Scatter of some columns by cluster, around the sample's group means: of all clusters with rows, or of a part.

    There are ``u`` columns, and ``cells`` pairs of a cluster and an absorbed group that have rows, by cluster.
    """

    columns: np.ndarray  # (u,) column numbers of the design
    scatter: np.ndarray  # (clusters, u, u)
    cell_cluster: np.ndarray  # (cells,) position in `scatter`
    cell_group: np.ndarray  # (cells,)
    cell_rows: np.ndarray  # (cells,)
    cell_sums: np.ndarray  # (cells, u) sums of the centred columns

    def project(self, weights: np.ndarray) -> ClusterGrams:
        """The same of linear combinations of the columns, ``weights`` (columns of the design, q)."""
        weights = weights[self.columns]
        row, column = np.nonzero(weights)
        if np.array_equal(np.sort(column), np.arange(weights.shape[1])) and (weights[row, column] == 1).all():
            picked = row[np.argsort(column)]  # each combination is one of the columns: nothing to multiply
            return ClusterGrams(
                np.arange(len(picked)),
                self.scatter[:, picked[:, None], picked],
                self.cell_cluster,
                self.cell_group,
                self.cell_rows,
                self.cell_sums[:, picked],
            )
        used = np.flatnonzero(weights.any(axis=1))
        weights = weights[used]
        return ClusterGrams(
            np.arange(weights.shape[1]),
            weights.T @ self.scatter[:, used[:, None], used] @ weights,
            self.cell_cluster,
            self.cell_group,
            self.cell_rows,
            self.cell_sums[:, used] @ weights,
        )

    def part(self, first: int, last: int) -> tuple[ClusterGrams, slice]:
        """Those of clusters ``first`` to ``last - 1``, and which cells they have."""
        cells = slice(*np.searchsorted(self.cell_cluster, [first, last]).tolist())
        grams = ClusterGrams(
            self.columns,
            self.scatter[first:last],
            self.cell_cluster[cells] - first,
            self.cell_group[cells],
            self.cell_rows[cells],
            self.cell_sums[cells],
        )
        return grams, cells


class SampleGrams:
    """`ClusterGrams` of one sample and cluster dimension, in parts: one if ``is_kept``, else as many as memory asks.

    Parts that are not kept are summed anew, in a pass each, whenever they are asked for. What each cluster has by
    absorbed group is small, and kept once it is known.
    """

    def __init__(self, design: Design, moments: Moments, sample: int, dimension: int, columns: np.ndarray) -> None:
        self.design, self.moments, self.sample, self.dimension = design, moments, sample, dimension
        self.columns = columns
        counts = moments.clusters[dimension]
        self.cells, self.cell_rows = counts.cells, counts.cell_rows
        self.there, self.cell_cluster = np.unique(counts.cells // counts.groups, return_inverse=True)
        self.cell_group = counts.cells % counts.groups
        self.cell_sums: np.ndarray = np.zeros((len(self.cells), len(columns)))
        self.size = 8 * len(self.there) * len(columns) ** 2
        self.is_kept = False
        self._kept: ClusterGrams | None = None

    def start(self, first: int, last: int) -> ClusterGrams:
        """Clusters ``first`` to ``last - 1`` of those with rows, nothing added yet."""
        u = len(self.columns)
        a, b = np.searchsorted(self.cell_cluster, [first, last])
        self.cell_sums[a:b] = 0.0
        grams = ClusterGrams(
            self.columns,
            np.zeros((last - first, u, u)),
            self.cell_cluster[a:b] - first,
            self.cell_group[a:b],
            self.cell_rows[a:b],
            self.cell_sums[a:b],
        )
        if self.is_kept:
            self._kept = grams
        return grams

    def add(self, grams: ClusterGrams, first: int, block: Block, rows: np.ndarray | None, z: np.ndarray) -> None:
        """Take in the centred ``rows`` z of a block for the clusters of ``grams``, the first of which is ``first``."""
        from dagster_project.stats.double_lasso import kernels

        codes = take(block.clusters[self.dimension], rows)
        clusters = np.searchsorted(self.there, codes) - first
        cells = np.searchsorted(self.cells, codes * np.int64(self.design.n_groups) + take(block.groups, rows))
        cells -= np.searchsorted(self.cell_cluster, first)
        order, starts = _segments(clusters)
        z = z[np.ix_(self.columns, np.arange(z.shape[1]) if order is None else order)]
        if order is not None:
            clusters, cells = clusters[order], cells[order]
        for a, b in pairwise(starts):
            segment = z[:, a:b]
            grams.scatter[clusters[a]] += segment @ segment.T
        kernels.add_by_code(grams.cell_sums.T, cells, z)

    def __iter__(self) -> Iterator[ClusterGrams]:
        if self._kept is not None:
            yield self._kept
            return
        for first, last in _slices(len(self.there), min(_passes(self.size), len(self.there))):
            grams = self.start(first, last)
            lowest, highest = self.there[first], self.there[last - 1]
            for block in self.design.blocks():
                codes = block.clusters[self.dimension]
                rows = np.flatnonzero(block.samples[self.sample] & (codes >= lowest) & (codes <= highest))
                if len(rows):
                    self.add(grams, first, block, rows, centred(block, rows, self.moments))
            yield grams

    def fixed_within_clusters(self) -> np.ndarray:
        """Whether each column (u,) is the same for all rows of a cluster; the parts must have been summed before."""
        sums, rows = np.zeros((len(self.there), len(self.columns))), np.zeros(len(self.there))
        np.add.at(sums, self.cell_cluster, self.cell_sums)
        np.add.at(rows, self.cell_cluster, self.cell_rows)
        variance = np.diag(self.moments.scatter)[self.columns]
        return np.sum(sums**2 / rows[:, None], axis=0) >= (1 - CLUSTER_LEVEL) * variance


Dimensions = tuple[int, ...]  # (): rows; (a,): clusters of dimension a; (a, b): their intersections


def final_sums(
    design: Design,
    samples: Sequence[Moments],
    of_sample: Sequence[int],
    driver_weights: np.ndarray,
    residual_weights: np.ndarray,
    dimensions: Sequence[Dimensions],
    grams: Sequence[SampleGrams],
) -> dict[Dimensions, np.ndarray]:
    """What the standard errors of ``r`` final regressions need: one pass, more where clusters are in slices.

    Args:
        of_sample: (r,) the sample of each regression
        driver_weights, residual_weights: (m, r) turn a centred row into the residualised driver and the residual; their
            product is the row's score
        dimensions: which sums of scores to square
        grams: those to be kept, which are filled

    Returns:
        For each of ``dimensions`` the (r, r) sum of products of score sums, across regressions too (a row outside a
        regression's sample has score 0).
    """
    from dagster_project.stats.double_lasso import kernels

    r = len(of_sample)
    meats = {dims: np.zeros((r, r)) for dims in dimensions}
    held = [dims for dims in dimensions if dims and not any(design.contiguous[d] for d in dims)]
    beside = {dims: int(np.prod([design.n_clusters[d] for d in dims[1:]])) for dims in held}
    passes = _passes(sum(8 * r * design.n_clusters[dims[0]] * beside[dims] for dims in held))
    regressions = {k: np.flatnonzero(np.asarray(of_sample) == k) for k in sorted(set(of_sample))}
    for number in range(passes):
        bounds = {dims: _slices(design.n_clusters[dims[0]], passes)[number] for dims in held}
        sums = {dims: np.zeros((r, (b - a) * beside[dims])) for dims, (a, b) in bounds.items()}
        started = [(gram, gram.start(0, len(gram.there))) for gram in grams] if number == 0 else []
        for block in design.blocks():
            scores = np.zeros((r, block.values.shape[1]))
            for k, members in regressions.items():
                rows = in_sample(block, k)
                z = centred(block, rows, samples[k])
                product = (driver_weights[:, members].T @ z) * (residual_weights[:, members].T @ z)
                if rows is None:
                    scores[members] = product
                else:
                    scores[np.ix_(members, rows)] = product
                for gram, begun in started:
                    if gram.sample == k and z.shape[1]:
                        gram.add(begun, 0, block, rows, z)
            for dims in dimensions:
                if dims in sums:
                    codes = joint_codes(design, block, dims) - bounds[dims][0] * beside[dims]
                    if passes == 1:
                        kernels.add_by_code(sums[dims], codes, scores)
                    else:
                        inside = np.flatnonzero((codes >= 0) & (codes < sums[dims].shape[1]))
                        kernels.add_by_code(sums[dims], codes[inside], scores[:, inside])
                elif number:
                    continue
                elif not dims:
                    meats[dims] += scores @ scores.T
                else:
                    _, codes = np.unique(joint_codes(design, block, dims), return_inverse=True)
                    within = np.zeros((r, codes.max() + 1))
                    kernels.add_by_code(within, codes, scores)
                    meats[dims] += within @ within.T
        for dims, total in sums.items():
            meats[dims] += total @ total.T
    return meats


def joint_codes(design: Design, block: Block, dims: Dimensions) -> np.ndarray:
    """One code a row (rows,) for its combination of clusters in several dimensions."""
    codes = block.clusters[dims[0]].astype(np.int64)
    for d in dims[1:]:
        span = design.n_clusters[d]
        if design.contiguous[d]:
            span = int(block.clusters[d].max()) + 1
        codes = codes * span + block.clusters[d]
    return codes
