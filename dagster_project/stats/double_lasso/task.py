"""What is asked of one regression, how it is to be answered, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

Method = Literal["double_selection", "partialling_out"]
Loadings = Literal["heteroskedastic", "cluster"]
StdError = Literal["jackknife", "cluster"]


@dataclass(frozen=True)
class Requirements:
    """What a driver must have to be estimated; what fails is reported as "not estimable"."""

    rows: int = 100
    rare_rows: int = 30  # rows that differ from the driver's most frequent extreme value
    clusters: int = 10
    residual_share: float = 0.01  # of the driver's variance, after controls and absorbed effects
    cluster_share: float = 0.5  # largest share of that residual variance which one cluster may carry
    clusters_per_control: int = 5  # for drivers fixed within clusters: clusters for each selected control that is, too


WHATEVER_COMPUTES = Requirements(
    rows=3, rare_rows=1, clusters=2, residual_share=1e-8, cluster_share=np.inf, clusters_per_control=0
)


@dataclass(frozen=True)
class Options:
    """How every model of a call is estimated; the names are those of `double_lasso` and `double_lasso_many`."""

    method: Method
    c: float
    gamma: float | None
    post: bool
    require: Requirements
    loadings: Loadings = "cluster"
    std_error: StdError = "jackknife"
    wild: int | None = None
    draws: int = 9999
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("method", Method), ("loadings", Loadings), ("std_error", StdError)):
            first, second = get_args(choices)
            found = getattr(self, name)
            if found not in (first, second):
                raise ValueError(f"{name}: '{first}' or '{second}' was expected, found {found!r}.")


@dataclass
class Task:
    """One regression: what is asked, in column numbers of the design, then what was found.

    ``reason`` says why there is no estimate. ``driver_weights`` and ``residual_weights`` (columns of the design,) turn
    a row, centred at its group's means, into the driver given the controls and into the residual.
    """

    name: str
    driver: int
    sample: int
    columns: np.ndarray
    keep: np.ndarray
    dims: tuple[int, ...]
    reason: str = ""
    n: int = 0
    n_clusters: int | None = None
    absorbed: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    outcome_mean: float = np.nan
    driver_mean: float = np.nan
    selected_for_outcome: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    selected_for_driver: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    selected: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    rank: int = 0
    driver_weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    residual_weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    driver_squares: float = np.nan
    residual_share: float = np.nan
    effect: float = np.nan
    std_error: float = np.nan
    kind: str = ""
    std_errors: dict[str, float] = field(default_factory=dict)
    degrees: float = np.nan
    wild_p: float = np.nan
    without_one: tuple[float, float] = (np.nan, np.nan)
    robustness_value: float = np.nan
    benchmark: tuple[int, float, float] | None = None

    @property
    def n_controls(self) -> int:
        """Columns that enter the lassos."""
        return len(self.columns)
