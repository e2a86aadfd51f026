"""Sums over the rows of a design, each taken in one pass whatever the number of regressions.

A design yields blocks of rows (see `design`). Three kinds of sums are enough for every lasso, every final regression
and every standard error: `moments`, `score_squares` (loadings) and `final_sums`. Absorbed effects are partialled out by
centring each block at its groups' means, which `moments` finds first.

A cluster dimension is handled in one of two ways. Few clusters: an array over all of them. Many (`design.contiguous`):
the blocks hold whole clusters, so that a cluster's sum is finished with its block and no array over clusters is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dagster_project.stats.double_lasso.design import Block, Design

CLUSTER_LEVEL = 1e-6  # share of a column's variance within clusters up to which it is a property of the cluster
SHORT_SEGMENT = 24  # rows a cluster in a block below which a compiled loop beats a matrix product for each


@dataclass
class ClusterCounts:
    """How the clusters of one dimension lie over the absorbed groups, within one sample."""

    clusters: int
    largest_groups_per_cluster: int
    largest_clusters_per_group: int
    cell_rows: np.ndarray  # (clusters of the design, groups) number of rows; empty for contiguous clusters

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
        counted = 0 if self.contiguous else design.n_clusters[dimension]
        self.cells = np.zeros((counted, self.groups), dtype=np.int64)

    def add(self, codes: np.ndarray, groups: np.ndarray) -> None:
        if not self.contiguous:
            np.add.at(self.cells, (codes, groups), 1)
            return
        pairs = np.unique(codes.astype(np.int64) * self.groups + groups)
        _, counts = np.unique(pairs // self.groups, return_counts=True)
        self.clusters += len(counts)
        self.per_cluster = max(self.per_cluster, int(counts.max(initial=0)))
        np.add.at(self.per_group, pairs % self.groups, 1)

    def result(self) -> ClusterCounts:
        if self.contiguous:
            return ClusterCounts(self.clusters, self.per_cluster, int(self.per_group.max(initial=0)), self.cells)
        there = self.cells > 0
        return ClusterCounts(
            int(there.any(axis=1).sum()),
            int(there.sum(axis=1).max(initial=0)),
            int(there.sum(axis=0).max(initial=0)),
            self.cells,
        )


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
        result.append(Moments(n, size, means, scatter, spread, raw, modal, [c.result() for c in counters[k]]))
    return result


def score_squares(
    design: Design, samples: Sequence[Moments], requests: Sequence[tuple[int, int | None, np.ndarray]]
) -> list[np.ndarray]:
    """Mean squared scores, the squares of the lasso's loadings: one pass.

    For each request (sample, cluster dimension or None, weights (m, r)) an array (controls, r) of
    ``sum over clusters of (sum over the cluster's rows of z_j e_r)^2 / rows`` with residuals ``e = z @ weights``;
    without clusters each row is its own: Belloni et al. (2012, algorithm A.1) and (2016, eq. 2.5).
    """
    from dagster_project.stats.double_lasso import kernels

    p = design.n_controls
    totals = [np.zeros((p, weights.shape[1])) for _, _, weights in requests]
    by_cluster = {
        index: np.zeros((design.n_clusters[cluster], p, weights.shape[1]))
        for index, (_, cluster, weights) in enumerate(requests)
        if cluster is not None and not design.contiguous[cluster]
    }
    used = sorted({sample for sample, _, _ in requests})
    for block in design.blocks():
        for sample in used:
            rows = in_sample(block, sample)
            z = centred(block, rows, samples[sample])
            if not z.shape[1]:
                continue
            for index, (wanted, cluster, weights) in enumerate(requests):
                if wanted != sample:
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
                for code, a, b in zip(first, starts[:-1], starts[1:], strict=True):
                    product = zs[:, a:b] @ es[:, a:b].T
                    if design.contiguous[cluster]:
                        totals[index] += np.square(product)
                    else:
                        by_cluster[index][code] += product
    for index, sums in by_cluster.items():
        totals[index] = np.einsum("gjr,gjr->jr", sums, sums)
    return [total / samples[request[0]].rows for total, request in zip(totals, requests, strict=True)]


@dataclass
class ClusterGrams:
    """Scatter of some columns by cluster, around the sample's group means.

    There are ``u`` columns, and ``cells`` pairs of a cluster and an absorbed group that have rows.
    """

    columns: np.ndarray  # (u,) column numbers of the design
    scatter: np.ndarray  # (clusters, u, u)
    cell_cluster: np.ndarray  # (cells,) position in `scatter`
    cell_group: np.ndarray  # (cells,)
    cell_rows: np.ndarray  # (cells,)
    cell_sums: np.ndarray  # (cells, u) sums of the centred columns

    @classmethod
    def empty(cls, columns: np.ndarray, counts: ClusterCounts) -> ClusterGrams:
        """Room for sums over these columns (u,), nothing added yet."""
        cluster, group = np.nonzero(counts.cell_rows)
        u = len(columns)
        sums = np.zeros((len(cluster), u))
        scatter = np.zeros((len(counts.cell_rows), u, u))
        return cls(columns, scatter, cluster, group, counts.cell_rows[cluster, group], sums)

    def project(self, weights: np.ndarray) -> ClusterGrams:
        """The same of linear combinations of the columns, ``weights`` (columns of the design, q)."""
        used = np.flatnonzero(weights[self.columns].any(axis=1))
        weights = weights[self.columns[used]]
        return ClusterGrams(
            np.arange(weights.shape[1]),
            weights.T @ self.scatter[:, used[:, None], used] @ weights,
            self.cell_cluster,
            self.cell_group,
            self.cell_rows,
            self.cell_sums[:, used] @ weights,
        )

    def fixed_within_clusters(self, variance: np.ndarray) -> np.ndarray:
        """Whether each column (u,) with sum of squares ``variance`` (u,) is the same for all rows of a cluster."""
        sums, rows = np.zeros((len(self.scatter), len(self.columns))), np.zeros(len(self.scatter))
        np.add.at(sums, self.cell_cluster, self.cell_sums)
        np.add.at(rows, self.cell_cluster, self.cell_rows)
        return np.sum(sums**2 / rows[:, None], axis=0) >= (1 - CLUSTER_LEVEL) * variance

    def present(self) -> ClusterGrams:
        """The same without clusters that have no rows in the sample."""
        there, cluster = np.unique(self.cell_cluster, return_inverse=True)
        return ClusterGrams(self.columns, self.scatter[there], cluster, self.cell_group, self.cell_rows, self.cell_sums)


Dimensions = tuple[int, ...]  # (): rows; (a,): clusters of dimension a; (a, b): their intersections


def final_sums(
    design: Design,
    samples: Sequence[Moments],
    of_sample: Sequence[int],
    driver_weights: np.ndarray,
    residual_weights: np.ndarray,
    dimensions: Sequence[Dimensions],
    grams: Mapping[tuple[int, int], np.ndarray],
) -> tuple[dict[Dimensions, np.ndarray], dict[tuple[int, int], ClusterGrams]]:
    """Everything the standard errors of ``r`` final regressions need: one pass.

    Args:
        of_sample: (r,) the sample of each regression
        driver_weights, residual_weights: (m, r) turn a centred row into the residualised driver and the residual; their
            product is the row's score
        dimensions: which sums of scores to square
        grams: columns whose scatter is wanted, by (sample, cluster dimension with few clusters)

    Returns:
        For each of ``dimensions`` the (r, r) sum of products of score sums, across regressions too (a row outside a
        regression's sample has score 0); and the `ClusterGrams`.
    """
    from dagster_project.stats.double_lasso import kernels

    r = len(of_sample)
    meats = {dims: np.zeros((r, r)) for dims in dimensions}
    sums = {
        dims: np.zeros((r, int(np.prod([design.n_clusters[d] for d in dims]))))
        for dims in dimensions
        if dims and not any(design.contiguous[d] for d in dims)
    }
    found = {key: ClusterGrams.empty(columns, samples[key[0]].clusters[key[1]]) for key, columns in grams.items()}
    cell_codes = {}
    for key, gram in found.items():
        codes = np.full(samples[key[0]].clusters[key[1]].cell_rows.shape, -1)
        codes[gram.cell_cluster, gram.cell_group] = np.arange(len(gram.cell_cluster))
        cell_codes[key] = codes
    regressions = {k: np.flatnonzero(np.asarray(of_sample) == k) for k in sorted(set(of_sample))}
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
            for (sample, dimension), gram in found.items():
                if sample == k and z.shape[1]:
                    clusters = take(block.clusters[dimension], rows)
                    cells = cell_codes[sample, dimension][clusters, take(block.groups, rows)]
                    _add_grams(gram, clusters, cells, z)
        for dims in dimensions:
            if not dims:
                meats[dims] += scores @ scores.T
            elif dims in sums:
                kernels.add_by_code(sums[dims], joint_codes(design, block, dims), scores)
            else:
                _, codes = np.unique(joint_codes(design, block, dims), return_inverse=True)
                within = np.zeros((r, codes.max() + 1))
                kernels.add_by_code(within, codes, scores)
                meats[dims] += within @ within.T
    for dims, total in sums.items():
        meats[dims] = total @ total.T
    return meats, {key: gram.present() for key, gram in found.items()}


def joint_codes(design: Design, block: Block, dims: Dimensions) -> np.ndarray:
    """One code a row (rows,) for its combination of clusters in several dimensions."""
    codes = block.clusters[dims[0]].astype(np.int64)
    for d in dims[1:]:
        span = design.n_clusters[d]
        if design.contiguous[d]:
            span = int(block.clusters[d].max()) + 1
        codes = codes * span + block.clusters[d]
    return codes


def _add_grams(gram: ClusterGrams, clusters: np.ndarray, cells: np.ndarray, z: np.ndarray) -> None:
    from dagster_project.stats.double_lasso import kernels

    order, starts = _segments(clusters)
    z = z[np.ix_(gram.columns, np.arange(z.shape[1]) if order is None else order)]
    if order is not None:
        clusters, cells = clusters[order], cells[order]
    for a, b in pairwise(starts):
        segment = z[:, a:b]
        gram.scatter[clusters[a]] += segment @ segment.T
    kernels.add_by_code(gram.cell_sums.T, cells, z)
