"""Many regressions on shared rows and columns, and the table of what they found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import Batches, Design, table_design
from dagster_project.stats.double_lasso.estimate import estimate
from dagster_project.stats.double_lasso.gram import Moments, SampleGrams
from dagster_project.stats.double_lasso.task import Loadings, Method, Options, Requirements, StdError, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Model:
    """One regression of `fit_models`.

    Attributes:
        name: of the model; a driver may have several
        driver: column whose effect is asked
        candidates: controls among which the lassos choose; none: least squares on ``keep``
        keep: controls that are in the final regression whatever the lassos say. Here, too, a single level of a text
            column may be named, "column=level", so that what one fit selected can be another's ``keep``.
        sample: boolean column that says which rows count
        cluster: none, one or two columns
    """

    name: str
    driver: str
    candidates: Sequence[str] = ()
    keep: Sequence[str] = ()
    sample: str | None = None
    cluster: Sequence[str] = ()


@dataclass(frozen=True)
class Fits:
    """What `fit_models` found, and the sums that further questions about the same regressions need no rows for.

    Attributes:
        table: as `double_lasso_many`, with the model's name in front
        design, outcome: the shared design, and the outcome's column number in it
        tasks: one a model, in their order
        samples: moments by sample; ``tasks[i].sample`` is a position in it
        clusters: names of the cluster dimensions; ``tasks[i].dims`` are positions in it
        grams: scatter by cluster of every column that a model used, by (sample, cluster dimension)
        correlation: of the scores of the estimated models, which `inference.romano_wolf` takes
    """

    table: pd.DataFrame
    design: Design
    outcome: int
    tasks: list[Task]
    samples: list[Moments]
    clusters: list[str]
    grams: dict[tuple[int, int], SampleGrams]
    correlation: np.ndarray

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of the effects: frame by model, columns low and high; missing where not estimable."""
        import pandas as pd

        ends = [inference.interval(task.effect, task.std_error, task.degrees, level) for task in self.tasks]
        found = pd.DataFrame(ends, index=pd.Index(self.table["model"]), columns=["low", "high"], dtype=np.float64)
        found.loc[(self.table["status"] != "estimated").to_numpy()] = np.nan
        return found

    def summary(self) -> str:
        """The estimated effects as a table to read, and below it what could not be estimated and why."""
        import pandas as pd

        table = self.table.set_index("model")
        names = ["effect", "std_error", "std_error_kind", "degrees_of_freedom", "p_value", "romano_wolf_p"]
        names += ["conf_low", "conf_high", "n", "n_clusters"]
        found = table.loc[table["status"] == "estimated", names].assign(
            controls=table["selected"].map(len), n_clusters=table["n_clusters"].astype(object)
        )
        lines = [f"Double lasso of {self.design.columns[self.outcome]}"]
        if len(found):
            with pd.option_context("display.width", None, "display.max_columns", None, "display.max_rows", None):
                lines.append(found.to_string(float_format=lambda value: f"{value:.5g}", na_rep="-"))
        reasons = table.loc[table["status"] != "estimated", "reason"]
        return "\n".join(lines + [f"{model}: not estimable, {reason}" for model, reason in reasons.items()])


def fit_models(
    data: pd.DataFrame | pa.Table | Batches,
    models: Sequence[Model],
    *,
    outcome: str,
    controls: Sequence[str],
    absorb: str | None = None,
    wild_bootstrap: str | None = None,
    more_clusters: Sequence[str] = (),
    loadings: Loadings = "cluster",
    std_error: StdError = "jackknife",
    method: Method = "double_selection",
    c: float = 1.1,
    gamma: float | None = None,
    post: bool = True,
    level: float = 0.95,
    require: Requirements | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> Fits:
    """Regressions that share rows and columns, each with its own driver, controls, sample and clusters.

    `double_lasso_many` with one model a driver; the parameters that both have are described there. ``controls`` are
    all columns that any model may use. ``more_clusters`` are cluster columns that no model uses but the caller wants in
    the design.
    """
    drivers = list(dict.fromkeys(model.driver for model in models))
    cluster_names = list(dict.fromkeys([name for model in models for name in model.cluster]))
    cluster_names += [name for name in (wild_bootstrap, *more_clusters) if name and name not in cluster_names]
    samples = list(dict.fromkeys(model.sample for model in models))
    made = table_design(
        data,
        outcome=outcome,
        drivers=drivers,
        controls=controls,
        absorb=absorb,
        clusters=cluster_names,
        samples=samples,
        jackknife={name for model in models if len(model.cluster) == 1 for name in model.cluster}
        if std_error == "jackknife"
        else (),
        numbered=[name for name in (wild_bootstrap, *more_clusters) if name],
    )
    wild = None if wild_bootstrap is None else cluster_names.index(wild_bootstrap)
    levels = {name: [j] for j, name in enumerate(made.design.columns[: made.design.n_controls])}
    columns_of = levels | made.control_columns

    tasks = []
    for model in models:
        k = samples.index(model.sample)
        allowed = [name for name in model.candidates if name != model.driver]
        columns = _sorted(j for name in allowed for j in columns_of[name])
        # a level that is no column of its own in these rows (the most frequent one, or too rare) is none to keep
        kept = _sorted({j for name in model.keep for j in columns_of.get(name, ())})
        dims = tuple(cluster_names.index(name) for name in model.cluster)
        task = Task(model.driver, made.driver_columns[model.driver], k, columns, kept, dims)
        for name in (outcome, model.driver):
            if made.not_finite[name][k]:
                task.reason = f"'{name}' is missing or infinite in {made.not_finite[name][k]:,} rows of the sample"
        unusable = [made.unusable[name] for name in dict.fromkeys([*allowed, *model.keep]) if name in made.unusable]
        task.reason = task.reason or "; ".join(unusable)
        tasks.append(task)
    options = Options(
        method, c, gamma, post, require or Requirements(), loadings, std_error, wild=wild, draws=draws, seed=seed
    )
    correlation, moments_of, grams = estimate(made.design, made.outcome, tasks, options)
    table = _table(made.design, tasks, correlation, level, draws, seed)
    table.insert(0, "model", [model.name for model in models])
    return Fits(table, made.design, made.outcome, tasks, moments_of, cluster_names, grams, correlation)


def _table(
    design: Design, tasks: list[Task], correlation: np.ndarray, level: float, draws: int, seed: int
) -> pd.DataFrame:
    import pandas as pd

    def names(columns: np.ndarray) -> tuple[str, ...]:
        return tuple(design.columns[j] for j in columns)

    rows = []
    for task in tasks:
        row: dict[str, Any] = {
            "driver": task.name,
            "status": "not estimable" if task.reason else "estimated",
            "reason": task.reason or None,
        }
        found = dict.fromkeys(
            ["effect", "std_error", "degrees_of_freedom", "p_value", "conf_low", "conf_high", "q_value"], np.nan
        )
        found |= dict.fromkeys(["romano_wolf_p", "wild_bootstrap_p", "std_error_robust", "std_error_cluster"], np.nan)
        found |= dict.fromkeys(["without_one_low", "without_one_high"], np.nan)
        if not task.reason:
            low, high = inference.interval(task.effect, task.std_error, task.degrees, level)
            found |= {
                "effect": task.effect,
                "std_error": task.std_error,
                "degrees_of_freedom": task.degrees,
                "p_value": inference.p_value(task.effect, task.std_error, task.degrees),
                "conf_low": low,
                "conf_high": high,
                "wild_bootstrap_p": task.wild_p,
                "without_one_low": task.without_one[0],
                "without_one_high": task.without_one[1],
                "std_error_robust": task.std_errors["heteroskedastic"],
                "std_error_cluster": task.std_errors.get("cluster", np.nan),
            }
        row |= found
        row |= {
            "std_error_kind": None if task.reason else task.kind,
            "n": task.n,
            "n_clusters": task.n_clusters,
            "n_controls": task.n_controls,
            "selected": names(task.selected),
            "selected_for_outcome": names(task.selected_for_outcome),
            "selected_for_driver": names(task.selected_for_driver),
            "absorbed": names(task.absorbed),
            "outcome_mean": task.outcome_mean,
            "driver_mean": task.driver_mean,
            "residual_share": task.residual_share,
            "robustness_value": np.nan if task.reason else task.robustness_value,
        }
        control, with_driver, with_outcome = task.benchmark or (None, np.nan, np.nan)
        row |= {
            "benchmark_control": None if control is None else design.columns[control],
            "benchmark_r2_driver": with_driver,
            "benchmark_r2_outcome": with_outcome,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    table["n_clusters"] = table["n_clusters"].astype("Int64")
    estimated = (table["status"] == "estimated").to_numpy()
    if estimated.any():
        p_values = table.loc[estimated, "p_value"].to_numpy()
        degrees = table.loc[estimated, "degrees_of_freedom"].to_numpy()
        table.loc[estimated, "q_value"] = inference.benjamini_hochberg(p_values)
        table.loc[estimated, "romano_wolf_p"] = inference.romano_wolf(
            p_values, degrees, correlation, draws=draws, seed=seed
        )
    return table


def _sorted(numbers: Iterable[int]) -> np.ndarray:
    return np.array(sorted(numbers), dtype=np.int64)
