"""A calibrated scale: its items and groups, and the tables that the kernels read of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.estimation import Parameters
from dagster_project.stats.item_response.intervals import with_intervals
from dagster_project.stats.item_response.quadrature import IMPOSSIBLE, Grid
from dagster_project.stats.item_response.responses import Layout

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ItemBank:
    """A calibrated scale. A bank read back from tables needs ``items``, ``groups`` and ``model`` only.

    Attributes:
        items (frame: item, slope, intercept (graded: intercept_1 …), slope_se, intercept_se …, slope_intercept_cov …,
            n): in the logistic metric, ascending by item; n = responses. Standard errors from the observed information;
            NaN where the parameter was not estimated. A graded intercept is NaN where no answer fell between two
            categories.
        groups (frame: group, mean, sd, mean_se, sd_se, n): ability distribution by group; n = persons. The first group
            (ascending, or in a categorical's own order) has mean 0 and, unless Rasch, sd 1.
        model: "2pl", "rasch" or "graded"
        nodes: number of equally spaced quadrature nodes on ±6
        log_likelihood: marginal log likelihood at the estimates, without priors
        log_likelihood_left: predicted gain of one more Newton step: what convergence is judged by
        iterations: passes over the responses (E-steps)
        converged: whether the last Newton step was below a thousandth of a standard error for every parameter
        report (frame: subject, label, n, reason): what was left out or is doubtful, in words.
    """

    items: pd.DataFrame
    groups: pd.DataFrame
    model: str = "2pl"
    nodes: int = 61
    log_likelihood: float = np.nan
    log_likelihood_left: float = np.nan
    iterations: int = 0
    converged: bool = False
    report: pd.DataFrame = field(default_factory=lambda: report_frame([]))

    def difficulties(self) -> pd.DataFrame:
        """Difficulty -intercept / slope of every item with its standard error (delta method), in sds of ability.

        Returns:
            frame: item, difficulty, difficulty_se (graded: difficulty_1 …, one a step). The error is NaN without a
            slope's covariance, except for the Rasch model, whose slope is known.
        """
        import pandas as pd

        out = {"item": self.items["item"]}
        slope = self.items["slope"]
        for name in intercept_columns(self.items):
            difficulty = -self.items[name] / slope
            by_slope, covariance = self.items["slope_se"], self.items[f"slope_{name}_cov"]
            if self.model == "rasch":
                by_slope, covariance = 0.0, 0.0
            variance = self.items[f"{name}_se"] ** 2 + difficulty**2 * by_slope**2 + 2 * difficulty * covariance
            out[name.replace("intercept", "difficulty")] = difficulty
            out[f"{name.replace('intercept', 'difficulty')}_se"] = np.sqrt(variance) / slope.abs()
        return pd.DataFrame(out)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Normal confidence intervals of everything that was estimated.

        Returns:
            frame: subject ("item" or "group"), label, parameter (slope, intercept, difficulty, mean, sd; graded:
            intercept_1, difficulty_1, …), estimate, std_error, low, high. No row for what was held fixed.

        Raises:
            ValueError: the bank's items came without standard errors.
        """
        import pandas as pd

        if "slope_se" not in self.items:
            raise ValueError(
                "the items have no column slope_se; expected the items of a calibration, with their errors"
            )
        items = self.items.merge(self.difficulties(), on="item")
        names = intercept_columns(self.items)
        names = ["slope", *names, *(name.replace("intercept", "difficulty") for name in names)]
        parts = []
        for frame, subject, parameters in ((items, "item", names), (self.groups, "group", ["mean", "sd"])):
            for name in parameters:
                if f"{name}_se" in frame:
                    values = {"label": frame[subject].astype(object), "estimate": frame[name]}
                    part = pd.DataFrame(values | {"std_error": frame[f"{name}_se"]})
                    parts.append(part.assign(subject=subject, parameter=name).dropna(subset="std_error"))
        out = pd.concat(parts, ignore_index=True)[["subject", "label", "parameter", "estimate", "std_error"]]
        return with_intervals(out, level)

    def summary(self) -> str:
        """What was estimated from how much, and how it went, in a few lines."""
        words = f"{self.model} bank: {len(self.items):,} items"
        if "n" in self.items:
            words += f", {int(self.items['n'].sum()):,} answers"
        if "n" in self.groups:
            words += f" of {int(self.groups['n'].sum()):,} persons"
        lines = [words]
        if self.iterations:
            end = "converged" if self.converged else "not converged"
            lines.append(f"log likelihood {self.log_likelihood:,.1f}, {end} after {self.iterations} passes")
        has_errors = "slope_se" in self.items
        items = self.items.merge(self.difficulties(), on="item") if has_errors else self.items
        for name in ["slope", *items.filter(regex=r"^(intercept|difficulty)(_\d+)?$").columns]:
            line = f"{name}: {items[name].min():.2f} to {items[name].max():.2f}, median {items[name].median():.2f}"
            if has_errors and items[f"{name}_se"].notna().any():
                line += f", median standard error {items[f'{name}_se'].median():.3f}"
            lines.append(line)
        for row in self.groups.to_dict("records"):
            mean, sd = (
                f"{name} {row[name]:.2f}" + (f" ± {row[f'{name}_se']:.2f}" if row.get(f"{name}_se", 0) > 0 else "")
                for name in ("mean", "sd")
            )
            lines.append(f"group {row['group']}: {mean}, {sd}" + (f", {row['n']:,} persons" if "n" in row else ""))
        if len(self.report):
            lines.append(f"{len(self.report)} remarks in report")
        return "\n".join(lines)

    def mean_difficulties(self) -> pd.DataFrame:
        """Mean difficulty of the steps of every item, with the standard error of the first step that it has.

        Returns:
            frame: item, difficulty, difficulty_se
        """
        import pandas as pd

        by_step = self.difficulties()
        mean = by_step.filter(regex=r"^difficulty(_\d+)?$").mean(axis=1)
        error = by_step.filter(regex=r"^difficulty(_\d+)?_se$").bfill(axis=1).iloc[:, 0]
        return pd.DataFrame({"item": by_step["item"], "difficulty": mean, "difficulty_se": error})

    def parameters(self) -> tuple[Layout, Parameters]:
        """Layout and parameters in the form of the kernels."""
        columns = intercept_columns(self.items)
        intercepts = self.items[columns].to_numpy(float)
        categories = [1] if columns == ["intercept"] else [int(name.removeprefix("intercept_")) for name in columns]
        observed = [np.append(0, np.array(categories)[~np.isnan(values)]) for values in intercepts]
        steps = np.array([len(categories) - 1 for categories in observed], np.int64)
        layout = Layout(self.items["item"].to_numpy(), observed, np.concatenate([[0], np.cumsum(steps)]))
        return layout, Parameters(
            self.items["slope"].to_numpy(float).copy(),
            intercepts[~np.isnan(intercepts)],
            self.groups["mean"].to_numpy(float),
            self.groups["sd"].to_numpy(float),
        )


def prior_on(bank: ItemBank, grid: Grid, *, grouped: bool) -> np.ndarray:
    """Log prior by group at the grid's nodes; one row, the mixture of all groups, if not ``grouped``."""
    by_group = grid.log_prior(bank.groups["mean"].to_numpy(float), bank.groups["sd"].to_numpy(float))
    if grouped or len(bank.groups) == 1:
        return by_group
    share = bank.groups["n"].to_numpy(float) if "n" in bank.groups else np.ones(len(bank.groups))
    mixture = np.log(np.maximum((share / share.sum()) @ np.exp(by_group), 1e-300))
    mixture[grid.nodes :] = IMPOSSIBLE
    return mixture[None, :]


def log_probability_table(layout: Layout, parameters: Parameters, grid: Grid) -> np.ndarray:
    """Logarithms of P by table row and padded node."""
    from dagster_project.stats.item_response import item_kernels

    table = np.empty((layout.rows, len(grid.padded)))
    item_kernels.category_log_probabilities(
        parameters.slope, parameters.step, layout.step_start, grid.padded, grid.nodes, table
    )
    return table


def intercept_columns(items: pd.DataFrame) -> list[str]:
    """Names of the intercepts of an item frame, in the order of the steps."""
    if "intercept" in items:
        return ["intercept"]
    return sorted(items.columns[items.columns.str.fullmatch(r"intercept_\d+")], key=lambda name: int(name[10:]))


def report_frame(lines: list[tuple]) -> pd.DataFrame:
    """What was left out or is doubtful: subject, label, n, reason."""
    import pandas as pd

    return pd.DataFrame(lines, columns=["subject", "label", "n", "reason"])
