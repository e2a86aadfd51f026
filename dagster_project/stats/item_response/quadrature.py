"""The abilities over which is integrated: equally spaced nodes, and when they are too few."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LIMIT = 6.0  # abilities are integrated over [-LIMIT, LIMIT], further where a group reaches beyond
IMPOSSIBLE = -1e30  # log density of a node that only pads
LANES = 8  # numbers in a vector register: the nodes are padded to a multiple
COARSEST_SPACING = 1.3  # node spacing in smallest posterior sds that needs no further proof


class QuadratureError(ValueError):
    """The quadrature nodes are too far apart, or the abilities reach beyond them: estimates would be wrong."""


@dataclass(frozen=True)
class Grid:
    """Equally spaced quadrature nodes on [-limit, limit], padded for the kernels."""

    nodes: int
    limit: float = LIMIT
    padded: np.ndarray = field(init=False)

    def __post_init__(self):
        padding = -self.nodes % LANES
        object.__setattr__(
            self, "padded", np.concatenate([np.linspace(-self.limit, self.limit, self.nodes), np.zeros(padding)])
        )

    @property
    def node(self) -> np.ndarray:
        """The nodes (nodes,) without the padding."""
        return self.padded[: self.nodes]

    @property
    def spacing(self) -> float:
        """Distance between neighbouring nodes, in sds of ability."""
        return 2.0 * self.limit / (self.nodes - 1)

    def reaching(self, limit: float) -> Grid:
        """More nodes of the same spacing, so far out."""
        further = int(np.ceil((limit - self.limit) / self.spacing))
        return Grid(self.nodes + 2 * further, self.limit + further * self.spacing)

    def log_prior(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Normal densities at the nodes divided by their sum, as logarithms, shape (groups, padded nodes)."""
        out = np.full((len(mean), len(self.padded)), IMPOSSIBLE)
        density = -0.5 * ((self.node[None, :] - mean[:, None]) / sd[:, None]) ** 2
        top = density.max(axis=1, keepdims=True)
        out[:, : self.nodes] = density - top - np.log(np.exp(density - top).sum(axis=1, keepdims=True))
        return out


def grid_of(nodes: int) -> Grid:
    """A grid of so many nodes, if they can do. Raises QuadratureError."""
    if not 5 <= nodes <= 5000:
        raise QuadratureError(f"nodes={nodes}; expected 5 to 5000, 61 for up to about 200 answers per person")
    return Grid(int(nodes))
