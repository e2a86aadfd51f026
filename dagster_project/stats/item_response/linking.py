"""Putting one calibration on the scale of another: Stocking and Lord (1983), anchors that moved taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.intervals import with_intervals
from dagster_project.stats.item_response.quadrature import Grid

if TYPE_CHECKING:
    import pandas as pd

OUTLYING = 3.0  # robust standard deviations
SMALLEST_DRIFT = 0.02  # mean difference of response probability below which nothing is removed
MOST_REMOVED = 0.3  # share of anchors


@dataclass(frozen=True)
class Link:
    """ability on the reference scale = ``scale`` × ability + ``shift``.

    Attributes:
        bank: the new bank on the reference scale
        scale, shift, scale_se, shift_se: errors by the delete-one-anchor jackknife
        anchors (frame: item, difference, drift, is_used, reason): ``difference``: mean over the reference population of
            the new minus the old expected score, in score points. ``drift``: new minus old difficulty in sds of ability
            (the mean step's for graded items); positive = harder now.
    """

    bank: ItemBank
    scale: float
    shift: float
    scale_se: float
    shift_se: float
    anchors: pd.DataFrame

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Normal confidence intervals: parameter ("scale", "shift"), estimate, std_error, low, high."""
        import pandas as pd

        rows = [("scale", self.scale, self.scale_se), ("shift", self.shift, self.shift_se)]
        return with_intervals(pd.DataFrame(rows, columns=["parameter", "estimate", "std_error"]), level)

    def summary(self) -> str:
        """The link and the anchors that were taken out, in a few lines."""
        moved = self.anchors[~self.anchors["is_used"]]
        first = (
            f"reference ability = {self.scale:.3f} × ability {self.shift:+.3f} "
            f"(standard errors {self.scale_se:.3f} and {self.shift_se:.3f}), "
            f"{len(self.anchors) - len(moved)} of {len(self.anchors)} anchors"
        )
        return "\n".join([first, *(f"item {row.item} {row.reason}" for row in moved.itertuples())])


def link(bank: ItemBank, reference: ItemBank, *, anchors=None, fewest_anchors: int = 20) -> Link:
    """Link a new calibration to a reference bank by the items they share.

    Scale and shift minimize the squared difference of the anchors' test characteristic curves over the reference
    population (Stocking and Lord 1983). Anchors whose curve moved by more than three robust standard deviations (median
    absolute deviation) and more than .02 are then removed, and the link is computed again until nothing changes.

    Args:
        bank, reference: the new calibration, and the bank whose scale is kept.
        anchors (array of items, optional): all shared items if not given.
        fewest_anchors: so many must be shared, and left when those that moved are out; at least 2. With fewer than 20
            the error of the link is large beside those of the items, and little is seen of what moved.

    Returns:
        The new bank on the reference scale, with what was found of its anchors.

    Raises:
        ValueError: fewer anchors before or after removal, or more than 30 % of them moved: then the scale is
            not the same.
    """
    import pandas as pd

    if fewest_anchors < 2:
        raise ValueError(f"fewest_anchors={fewest_anchors}; expected 2 or more, 20 for a link to rely on")
    if bank.model != reference.model:
        raise ValueError(f"a {bank.model} bank cannot be linked to a {reference.model} bank")
    shared = pd.Index(reference.items["item"]).intersection(pd.Index(bank.items["item"]), sort=True)
    if anchors is not None:
        shared = shared.intersection(pd.Index(np.asarray(anchors)), sort=True)
    new, old = (b.items.set_index("item").loc[shared] for b in (bank, reference))
    same_steps = (new.filter(regex=_STEP).notna().to_numpy() == old.filter(regex=_STEP).notna().to_numpy()).all(axis=1)
    new, old, shared = new[same_steps], old[same_steps], shared[same_steps]
    if len(shared) < fewest_anchors:
        raise ValueError(
            f"the banks share {len(shared)} usable items; expected at least {fewest_anchors} to link them: "
            "start a new scale, or calibrate the new items with calibrate_new_items"
        )
    grid = Grid(reference.nodes)
    weight = np.exp(grid.log_prior(reference.groups["mean"].to_numpy(float), reference.groups["sd"].to_numpy(float)))
    share = reference.groups["n"].to_numpy(float) if "n" in reference.groups else np.ones(len(reference.groups))
    weight = (share / share.sum()) @ weight[:, : grid.nodes]
    new_items = new["slope"].to_numpy(float), new.filter(regex=_STEP).to_numpy(float)
    old_curves = _expected_scores(old["slope"].to_numpy(float), old.filter(regex=_STEP).to_numpy(float), grid.node)

    free_scale = bank.model != "rasch"
    used = np.ones(len(shared), bool)
    for _ in range(10):
        scale, shift = _fit(new_items, old_curves, used, grid.node, weight, free_scale)
        difference = (_expected_scores(*_moved(*new_items, scale, shift), grid.node) - old_curves) @ weight
        middle = np.median(difference[used])
        spread = 1.4826 * np.median(np.abs(difference[used] - middle))
        distance = np.abs(difference - middle)
        now_used = (distance <= OUTLYING * spread) | (distance <= SMALLEST_DRIFT)
        if (now_used == used).all():
            break
        used = now_used
    if used.sum() < fewest_anchors or used.mean() < 1 - MOST_REMOVED:
        raise ValueError(
            f"{(~used).sum()} of {len(used)} anchors moved between the calibrations, {used.sum()} are left (at least "
            f"{fewest_anchors} and {1 - MOST_REMOVED:.0%} are needed): the questions, or what they measure, changed"
        )
    left_out = []
    for anchor in np.flatnonzero(used):
        one_less = used.copy()
        one_less[anchor] = False
        left_out.append(_fit(new_items, old_curves, one_less, grid.node, weight, free_scale, start=(scale, shift)))
    errors = np.std(left_out, axis=0) * np.sqrt(used.sum() - 1)
    slope, steps = _moved(*new_items, scale, shift)
    old_steps = old.filter(regex=_STEP).to_numpy(float)
    drift = np.nanmean(-steps / slope[:, None], axis=1) - np.nanmean(
        -old_steps / old["slope"].to_numpy(float)[:, None], axis=1
    )
    frame = pd.DataFrame(
        {
            "item": shared,
            "difference": difference,
            "drift": drift,
            "is_used": used,
            "reason": [
                None if kept else f"moved by {by:+.3f}, {abs(by - middle) / spread:.1f} robust sd: not an anchor"
                for kept, by in zip(used, difference, strict=True)
            ],
        }
    )
    return Link(on_scale(bank, scale, shift), float(scale), float(shift), *map(float, errors), anchors=frame)


_STEP = r"^intercept(_\d+)?$"


def _expected_scores(slope: np.ndarray, steps: np.ndarray, node: np.ndarray) -> np.ndarray:
    """Expected score by item and node; a NaN step is none."""
    with np.errstate(over="ignore"):
        reached = 1.0 / (1.0 + np.exp(-(slope[:, None, None] * node + steps[:, :, None])))
    return np.nansum(reached, axis=1)


def _moved(slope: np.ndarray, steps: np.ndarray, scale: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    return slope / scale, steps - (slope * shift / scale)[:, None]


def _fit(new_items, old_curves, used, node, weight, free_scale, start=(1.0, 0.0)) -> tuple[float, float]:
    from scipy.optimize import least_squares

    slope, steps = new_items[0][used], new_items[1][used]
    target = old_curves[used].sum(axis=0)
    root = np.sqrt(weight)

    def residuals(x):
        scale = np.exp(x[1]) if free_scale else 1.0
        return root * (_expected_scores(*_moved(slope, steps, scale, x[0]), node).sum(axis=0) - target)

    x0 = [start[1], np.log(start[0])] if free_scale else [start[1]]
    x = least_squares(residuals, x0, xtol=1e-10, ftol=1e-12, gtol=1e-12).x
    return (float(np.exp(x[1])) if free_scale else 1.0), float(x[0])


def standardized(bank: ItemBank) -> ItemBank:
    """The bank with ability in sds from the mean of all its persons, whatever their groups."""
    share = bank.groups["n"] / bank.groups["n"].sum()
    mean = float((share * bank.groups["mean"]).sum())
    sd = float(np.sqrt((share * (bank.groups["sd"] ** 2 + (bank.groups["mean"] - mean) ** 2)).sum()))
    return on_scale(bank, 1 / sd, -mean / sd)


def on_scale(bank: ItemBank, scale: float, shift: float) -> ItemBank:
    """The bank with abilities ``scale`` × ability + ``shift``; errors of a link are not added."""
    items = bank.items.copy()
    ratio = shift / scale
    slope_se = items["slope_se"].fillna(0.0)
    for name in items.columns[items.columns.str.fullmatch(r"intercept(_\d+)?")]:
        covariance = items[f"slope_{name}_cov"]
        items[f"{name}_se"] = np.sqrt(
            items[f"{name}_se"] ** 2 + (ratio * slope_se) ** 2 - 2 * ratio * covariance.fillna(0.0)
        )
        items[f"slope_{name}_cov"] = (covariance - ratio * items["slope_se"] ** 2) / scale
        items[name] = items[name] - ratio * items["slope"]
    items["slope"] = items["slope"] / scale
    items["slope_se"] = items["slope_se"] / scale
    groups = bank.groups.assign(mean=scale * bank.groups["mean"] + shift, sd=scale * bank.groups["sd"])
    for name in ("mean_se", "sd_se"):
        if name in groups:
            groups[name] = scale * groups[name]
    return replace(bank, items=items, groups=groups)
