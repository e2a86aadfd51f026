"""Log probabilities at abilities that are moved by an offset: the tables of `longitudinal_kernels`."""

from __future__ import annotations

import numpy as np

from dagster_project.stats.item_response.quadrature import Grid
from dagster_project.stats.item_response.responses import Layout

PHASES = 2  # steps of an offset in a node spacing


def places(offset: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Offsets on the grid of phases: place and share (see the kernels), and the room below and above in nodes."""
    from dagster_project.stats.item_response.longitudinal_kernels import place_offsets

    steps = PHASES / spacing
    low = int(np.ceil(max(0.0, -np.floor(offset.min(initial=0.0) * steps)) / PHASES))
    high = int(np.ceil(max(0.0, np.floor(offset.max(initial=0.0) * steps) + 1) / PHASES)) + 1
    place, share = np.empty(len(offset), np.int16), np.empty(len(offset), np.float32)
    place_offsets(offset, steps, -low * PHASES, place, share)
    return place, share, low, high


class MovedTables:
    """Log probabilities, their derivative by ability, and the information about ability, by phase, row and node."""

    def __init__(self, slope, step, layout: Layout, grid: Grid, low: int, high: int):
        from dagster_project.stats.item_response import item_kernels

        nodes = grid.nodes + low + high
        fine = grid.spacing / PHASES
        self.node = grid.node[0] - low * grid.spacing + np.arange(nodes * PHASES) * fine
        self.shape = (layout.rows, nodes, PHASES)
        flat = np.empty((layout.rows, nodes * PHASES))
        item_kernels.category_log_probabilities(slope, step, layout.step_start, self.node, len(self.node), flat)
        self.flat = flat
        self.log_p = self._by_phase(flat)
        below, above = np.empty_like(flat), np.empty_like(flat)
        item_kernels.category_scores(slope, step, layout.step_start, self.node, len(self.node), below, above)
        row_item = layout.item_of_row
        score = slope[row_item][:, None] * (below + above)
        information = layout.by_item(np.exp(flat) * score**2)[row_item]
        self.score, self.information = self._by_phase(score), self._by_phase(information)

    def _by_phase(self, flat: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(flat.reshape(self.shape).transpose(2, 0, 1))

    def by_node(self, counts: np.ndarray) -> np.ndarray:
        """Counts by phase, row and node as (rows, all nodes)."""
        return np.ascontiguousarray(counts.transpose(1, 2, 0).reshape(self.shape[0], -1))
