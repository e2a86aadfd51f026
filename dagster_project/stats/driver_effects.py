"""By how much does retention change with each driver? Every driver of a catalogue, over all programs and in each.

The calculation is that of the retention report, with what it leaves out: intervals, the controls that were used, what
an unseen confounder would have to be, and other ways of asking that should give the same answer. Rows come streamed;
nothing here knows where from.

The percent
    pct = 100 alpha (high - low) / (mean outcome + alpha (low - mean driver)), alpha the double lasso's effect, both
    means over the driver's own sample. Its standard error is the delta method's in alpha; the interval's ends are the
    percents of the ends of alpha's interval, so that it holds zero exactly when alpha's does.
The contrast (low, high)
    0 to 1 for drivers that are yes or no, or mostly zero; the printed one where the report prints one; else our
    quartiles, and median to median + 1 for a count whose quartiles are equal. A contrast with an end outside the 2.5 to
    97.5 % range of our data gives way to our quartiles; the rule that was used stands with the row.

References
----------
.. [1] Cinelli and Hazlett (2020), Making sense of sensitivity, J. Royal Statistical Society B 82, 39-67.
.. [2] Paule and Mandel (1982), J. Research of the National Bureau of Standards 87, 377-385: the variance between
       programs; Efron and Morris (1975), J. American Statistical Association 70, 311-319: the shrinkage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.double_lasso.fits import Fits, Model, fit_models
from dagster_project.stats.double_lasso.task import Requirements
from dagster_project.stats.logit import logit_percents
from dagster_project.stats.placebos import DRAWS, Draws, swap_clusters, swap_learners
from dagster_project.stats.suppression import MINIMUM, SharedMeans

logger = logging.getLogger(__name__)

LEVELS = ("learner_program", "learner_course")
TIMES = ("before_start", "start", "design", "first_deadline", "midpoint", "end")
FORBIDDEN = ("after", "part_of_driver", "zero_sum")  # reasons for which a control may not be eligible
STUDENT_GROUPS = ("STU", "ADM")
NEGATIVE_OUTCOME = "age_years"  # fixed before every driver
BINS = 5
FEW_VALUES = 5  # a driver with fewer distinct values has no dose-response
RANGE = (0.025, 0.975)
LOGIT_POINTS = 0.5  # a logit's percent may differ from the linear one by so much, or by a standard error
PLACEBO_BOUNDS = (0.01, 0.10)  # share of rejections at 5 % over all draws of one kind of driver
PROGRAM_REQUIREMENTS = Requirements(rows=200, rare_rows=30, clusters=6)
# Within one program nothing is left of programs; terms are the clusters that learners share.
CLUSTERS = {"program": ("program_term",), "design": ("course",), "course": ("course",), "own": ("learner", "course")}


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are neither drivers nor controls."""

    program: str = "program_key"
    learner: str = "learner_key"
    course: str = "course_key"
    term: str = "first_term_key"
    outcome: str = "is_retained"
    dropped: str = "is_dropped"


@dataclass(frozen=True)
class DriverResults:
    """Tables; their columns are described in dbt/models/analytics/_analytics__sources.yml."""

    effects: pd.DataFrame
    specifications: pd.DataFrame
    dose_response: pd.DataFrame
    placebos: pd.DataFrame


@dataclass
class _Driver:
    """A driver of the catalogue, with what the data have of it."""

    id: str
    column: str
    kind: str
    sample_rule: str
    contrast_rule: str
    printed: tuple[float, float]
    position: int
    controls: list[str] = field(default_factory=list)
    student: list[str] = field(default_factory=list)
    sensitivity: list[str] = field(default_factory=list)
    reason: str = ""
    sample: str | None = None
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))  # distinct values of the sample, ascending
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rule: str | None = None
    low: float = np.nan
    high: float = np.nan

    @property
    def is_count_or_amount(self) -> bool:
        return len(self.values) >= FEW_VALUES

    def quantile(self, share: float) -> float:
        """As numpy's, linear between the two nearest rows."""
        if not len(self.values):
            return np.nan
        ends = np.cumsum(self.counts)
        place = share * (ends[-1] - 1)
        below, above = (self.values[np.searchsorted(ends, i, side="right")] for i in (np.floor(place), np.ceil(place)))
        return float(below + (above - below) * (place - np.floor(place)))

    def set_contrast(self) -> None:
        low, high = self.quantile(0.25), self.quantile(0.75)
        if self.contrast_rule == "zero_to_one":
            self.rule, self.low, self.high = "zero to one", 0.0, 1.0
            return
        inside = self.quantile(RANGE[0]) <= self.printed[0] and self.printed[1] <= self.quantile(RANGE[1])
        if self.contrast_rule == "printed" and inside:
            self.rule, (self.low, self.high) = "printed", self.printed
        elif high > low:
            outside = " (the printed contrast lies outside our data)" if self.contrast_rule == "printed" else ""
            self.rule, self.low, self.high = f"own quartiles{outside}", low, high
        else:
            self.rule, self.low = "median to median + 1", self.quantile(0.5)
            self.high = self.low + 1


def eligibility_errors(catalogue: pd.DataFrame, groups: pd.DataFrame, eligibility: pd.DataFrame) -> list[str]:
    """What is wrong with the three seeds: a control downstream of its driver, a pair without a row.

    Parameters
    ----------
    catalogue, groups, eligibility : the seeds driver_catalogue, driver_control_groups, driver_control_eligibility
    """
    errors = []
    pairs = {(row.driver_group, row.control_group): row for row in eligibility.itertuples()}
    latest = groups.groupby("control_group")["known_at"].agg(lambda times: max(times, key=TIMES.index))
    for driver_group in catalogue["driver_group"].unique():
        known_at = min(catalogue.loc[catalogue["driver_group"] == driver_group, "known_at"], key=TIMES.index)
        for control_group, time in latest.items():
            row = pairs.get((driver_group, control_group))
            if row is None:
                errors.append(f"{driver_group} × {control_group} has no row")
            elif row.eligible == "yes" and row.reason in FORBIDDEN:
                errors.append(f"{driver_group} × {control_group} is eligible, yet {row.reason}")
            elif row.eligible == "yes" and TIMES.index(time) > TIMES.index(known_at):
                errors.append(
                    f"{driver_group} × {control_group} is eligible, yet settled at {time}, later than the driver: "
                    f"{known_at}"
                )
    return errors


def driver_effects(
    batches: Mapping[str, Batches | None],
    *,
    catalogue: pd.DataFrame,
    groups: pd.DataFrame,
    eligibility: pd.DataFrame,
    columns: Columns | None = None,
    reasons: Mapping[str, str] | None = None,
    placebo_draws: int = DRAWS,
    by_program: bool = True,
    minimum_group: int = MINIMUM,
    seed: int = 0,
) -> DriverResults:
    """Effects of all drivers of a catalogue, and what stands beside them.

    Parameters
    ----------
    batches : for each level, "learner_program" and "learner_course", a function without arguments that returns an
        iterator of record batches: analysis rows with a known outcome, ordered by program and, within, by learner. The
        same rows in the same order at every call. None: the level has no rows.
    catalogue, groups, eligibility : the seeds driver_catalogue, driver_control_groups, driver_control_eligibility
    columns : names of the keys, of the outcome and of "dropped"
    reasons : for a level without rows, why; otherwise "there are no rows"
    placebo_draws : of each kind of placebo; 0: none
    by_program : also estimate within each program
    minimum_group : fewest rows that a figure may be about: drivers whose samples differ by fewer share the mean of the
        outcome, and a program without which so few rows would be left over is not told
    seed : of placebos, Romano-Wolf and the wild bootstrap

    Returns
    -------
    `DriverResults`. Its effects have a row for every driver of the catalogue, and one for each driver and program: what
    cannot be estimated has status "not estimable" and the reason.
    """
    with threadpool_limits(1, user_api="blas"):  # small matrices: a second thread only waits, at the price of a core
        return _analyse(
            batches,
            catalogue,
            groups,
            eligibility,
            columns or Columns(),
            reasons or {},
            placebo_draws,
            by_program,
            minimum_group,
            seed,
        )


def _analyse(
    batches: Mapping[str, Batches | None],
    catalogue: pd.DataFrame,
    groups: pd.DataFrame,
    eligibility: pd.DataFrame,
    columns: Columns,
    reasons: Mapping[str, str],
    placebo_draws: int,
    by_program: bool,
    minimum_group: int,
    seed: int,
) -> DriverResults:
    levels = [
        _Level(
            level, batches.get(level), catalogue, groups, eligibility, columns, seed, reasons.get(level), minimum_group
        )
        for level in LEVELS
    ]
    for level in levels:
        level.fit()
    effects = pd.concat([level.effects() for level in levels], ignore_index=True)
    _adjust_together(effects, [level.main for level in levels if level.main is not None], seed)
    specifications = _concatenate([level.specifications() for level in levels])
    effects = _with_course_term(effects, specifications)
    if by_program:
        programs = _concatenate([level.by_program() for level in levels])
        if len(programs):
            programs = _shrunken(programs)
            effects = _concatenate([_with_spread(effects, programs), programs])
    return DriverResults(
        effects=effects.sort_values("position", kind="stable", ignore_index=True),
        specifications=specifications,
        dose_response=_concatenate([level.dose_response() for level in levels]),
        placebos=_concatenate([level.placebos(placebo_draws) for level in levels]),
    )


class _Level:
    """The drivers of one level: rows, models, and the questions that follow."""

    def __init__(
        self,
        name: str,
        batches: Batches | None,
        catalogue: pd.DataFrame,
        groups: pd.DataFrame,
        eligibility: pd.DataFrame,
        columns: Columns,
        seed: int,
        reason: str | None,
        minimum_group: int,
    ) -> None:
        self.name, self.batches, self.columns, self.seed = name, batches, columns, seed
        self.minimum_group = minimum_group
        self.means = SharedMeans(minimum_group)
        self.main: Fits | None = None
        self.drivers = [
            _Driver(
                id=row.driver_id,
                column=row.mart_column,
                kind=row.kind,
                sample_rule=row.sample,
                contrast_rule=row.contrast_rule,
                printed=(float(row.printed_low), float(row.printed_high)),
                position=int(row.position),
            )
            for row in catalogue[catalogue["level"] == name].itertuples()
        ]
        found = None if batches is None else next(iter(batches()), None)
        self.there = [] if found is None or not found.num_rows else found.schema.names
        for driver in self.drivers:
            if not self.there:
                driver.reason = reason or "there are no rows with a known outcome"
            elif driver.column not in self.there:
                driver.reason = f"the rows have no column {driver.column}"
        self._set_controls(catalogue, groups, eligibility)

    def _set_controls(self, catalogue: pd.DataFrame, groups: pd.DataFrame, eligibility: pd.DataFrame) -> None:
        group_of = dict(zip(catalogue["driver_id"], catalogue["driver_group"], strict=True))
        columns = [(c, g) for c, g in zip(groups["mart_column"], groups["control_group"], strict=True)]
        columns = [(column, group) for column, group in columns if column in self.there]
        for driver in self.drivers:
            rows = eligibility[eligibility["driver_group"] == group_of[driver.id]]
            verdict = dict(zip(rows["control_group"], rows["eligible"], strict=True))
            allowed = [(c, g) for c, g in columns if verdict.get(g) == "yes" and c != driver.column]
            driver.controls = [c for c, _ in allowed]
            driver.student = [c for c, g in allowed if g in STUDENT_GROUPS]
            driver.sensitivity = [c for c, g in columns if verdict.get(g) == "sensitivity" and c != driver.column]
        wanted = {c for driver in self.drivers for c in [*driver.controls, *driver.sensitivity]}
        self.controls = [c for c, _ in columns if c in wanted]

    # rows

    def fit(self) -> None:
        """The double lasso of every driver that has rows."""
        asked = [driver for driver in self.drivers if not driver.reason]
        if not asked:
            return
        logger.info("%s: %d drivers, %d columns of controls", self.name, len(asked), len(self.controls))
        self._describe(asked)
        asked = [driver for driver in asked if not driver.reason]
        if not asked:
            return
        self.main = fit_models(
            self._rows,
            [self._model(driver.id, driver, driver.controls) for driver in asked],
            outcome=self.columns.outcome,
            controls=self.controls,
            absorb=self.columns.program,
            wild_bootstrap=self.columns.program,
            more_clusters=["program_term"],
            seed=self.seed,
        )
        by_id = {driver.id: driver for driver in self.drivers}
        self.fitted = [by_id[name] for name in self.main.table["model"]]

    def _model(
        self,
        name: str,
        driver: _Driver,
        candidates: Sequence[str] = (),
        keep: Sequence[str] = (),
        column: str | None = None,
    ) -> Model:
        names = {"course": self.columns.course}
        clusters = tuple(names.get(cluster, cluster) for cluster in CLUSTERS[driver.kind])
        return Model(name, column or driver.column, candidates, keep, driver.sample, clusters)

    def _rows(self) -> Iterator[pa.RecordBatch]:
        """The level's rows with the columns that the models need beside those of the warehouse."""
        keys = self.columns
        for batch in self.batches():
            more = {"program_term": _joint_key(batch, [keys.program, keys.term])}
            if self.name == "learner_course":
                # A learner in two programs has two outcomes, and in a stream ordered by program no place of their own.
                more["learner"] = _joint_key(batch, [keys.program, keys.learner])
                more["course_term"] = _joint_key(batch, [keys.course, keys.term])
            for driver in self.drivers:
                if driver.sample is not None and driver.sample not in more and not driver.reason:
                    more[driver.sample] = self._in_sample(batch, driver)
            yield _with(batch, more)

    def _in_sample(self, batch: pa.RecordBatch, driver: _Driver) -> pa.Array:
        values = batch.column(driver.column)
        kept = pc.is_valid(values)
        if pa.types.is_floating(values.type):
            kept = pc.fill_null(pc.and_(kept, pc.invert(pc.is_nan(values))), False)
        if driver.sample_rule == "share > 0":
            kept = pc.fill_null(pc.and_(kept, pc.greater(values, 0)), False)
        if driver.sample_rule == "not dropped":
            kept = pc.and_(kept, pc.invert(pc.fill_null(batch.column(self.columns.dropped), False)))
        return kept

    def _describe(self, asked: list[_Driver]) -> None:
        """One pass: distinct values of every driver in its sample, and which samples are alike."""
        rows = 0
        known: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {driver.id: [] for driver in asked}
        marks: dict[str, int] = {driver.id: 0 for driver in asked}
        sizes: dict[str, int] = {driver.id: 0 for driver in asked}
        for batch in self.batches():
            rows += batch.num_rows
            for driver in asked:
                kept = self._in_sample(batch, driver)
                values = batch.column(driver.column).filter(kept).cast(pa.float64()).to_numpy(zero_copy_only=False)
                known[driver.id].append(np.unique(values, return_counts=True))
                sizes[driver.id] += len(values)
                # equal rows give equal marks, whatever the driver: samples that are the same share their sums
                bits = np.packbits(kept.to_numpy(zero_copy_only=False)).tobytes()
                marks[driver.id] = hash((marks[driver.id], bits))
        first: dict[int, str] = {}
        for driver in asked:
            driver.values, driver.counts = _merged(known[driver.id])
            if not sizes[driver.id]:
                driver.reason = "no row of its sample has a value"
                continue
            driver.set_contrast()
            if sizes[driver.id] < rows:
                driver.sample = first.setdefault(marks[driver.id], f"in the sample of {driver.id}")

    # effects

    def effects(self) -> pd.DataFrame:
        """One row a driver, over all programs."""
        found = {} if self.main is None else self.main.table.set_index("model").to_dict("index")
        logits = {}
        if self.main is not None:
            percents = logit_percents(self.main, [d.low for d in self.fitted], [d.high for d in self.fitted])
            logits = dict(zip(self.main.table["model"], percents, strict=True))
        rows = []
        for fit in sorted(found.values(), key=lambda fit: -fit["n"]):
            self.means.of(fit["n"], fit["outcome_mean"])
        for driver in self.drivers:
            row = self._describe_row(driver, found.get(driver.id), self.means)
            if row["status"] == "estimated":
                row |= _sensitivity(row, found[driver.id])
                row["logit_percent"] = logits[driver.id]
                gap = abs(row["logit_percent"] - row["percent"])
                row["is_logit_different"] = bool(not gap <= max(LOGIT_POINTS, row["percent_std_error"]))
                ends = [found[driver.id][f"without_one_{end}"] for end in ("low", "high")]
                ends = sorted(_percent(alpha, row) for alpha in ends)
                row["without_one_program_low_percent"], row["without_one_program_high_percent"] = ends
            rows.append(row)
        return pd.DataFrame(rows)

    def _describe_row(self, driver: _Driver, fit: dict[str, Any] | None, means: SharedMeans) -> dict[str, Any]:
        """A driver with its contrast and, if there is a fit, its figures; `means` are those of the outcome."""
        row: dict[str, Any] = {
            "driver_id": driver.id,
            "program_key": None,
            "position": driver.position,
            "level": self.name,
            "contrast_rule": driver.rule,
            "contrast_low": driver.low,
            "contrast_high": driver.high,
            "driver_q25": driver.quantile(0.25),
            "driver_median": driver.quantile(0.5),
            "driver_q75": driver.quantile(0.75),
            "candidate_control_columns": len(driver.controls),
        }
        if fit is None:
            return row | {"status": "not estimable", "reason": driver.reason, "row_count": 0}
        row |= {
            "status": fit["status"],
            "reason": fit["reason"],
            "row_count": fit["n"],
            "cluster_count": fit["n_clusters"],
            "clustered_by": " and ".join(CLUSTERS[driver.kind]).replace("_", " × "),
            "control_count": fit["n_controls"],
            "selected_control_count": len(fit["selected"]),
            "selected_controls": ", ".join(fit["selected"]),
            "outcome_mean": means.of(fit["n"], fit["outcome_mean"]),
            "driver_mean": fit["driver_mean"],
            "residual_share": fit["residual_share"],
        }
        if fit["status"] != "estimated":
            return row
        row |= {name: fit[name] for name in ("effect", "std_error", "std_error_kind", "degrees_of_freedom", "p_value")}
        row["wild_bootstrap_p"] = fit["wild_bootstrap_p"]  # not a number within a program
        row |= _metric(row, fit["conf_low"], fit["conf_high"])
        own = row | {"contrast_low": row["driver_q25"], "contrast_high": row["driver_q75"]}
        if driver.contrast_rule != "zero_to_one" and own["contrast_low"] < own["contrast_high"]:
            row["own_quartiles_percent"] = _percent(row["effect"], own)
        return row

    # other ways of asking

    def specifications(self) -> pd.DataFrame:
        """The same effect with other controls, samples and absorbed effects."""
        if self.main is None:
            return pd.DataFrame()
        selected = {d.id: list(s) for d, s in zip(self.fitted, self.main.table["selected"], strict=True)}
        usable = [d for d, task in zip(self.fitted, self.main.tasks, strict=True) if not task.reason]
        within, plain, course_term = [], [], []
        for driver in usable:
            plain.append(self._model(f"{driver.id}|naive", driver))
            within.append(self._model(f"{driver.id}|program only", driver))
            within.append(self._model(f"{driver.id}|and student", driver, keep=driver.student))
            within.append(self._model(f"{driver.id}|all eligible", driver, keep=driver.controls))
            chosen = selected[driver.id]
            if driver.sensitivity:
                wider = self._model(f"{driver.id}|and doubtful controls", driver, keep=[*chosen, *driver.sensitivity])
                within.append(wider)
            if driver.sample_rule == "not dropped" and self._is_everywhere(driver):
                model = self._model(f"{driver.id}|dropped courses too", driver, keep=chosen)
                within.append(replace(model, sample=None))
            if driver.kind == "own":
                course_term.append(self._model(f"{driver.id}|course and term absorbed", driver, keep=chosen))
        keys = self.columns
        tables = [
            self._fit_again(plain, absorb=None),
            self._fit_again(within, absorb=keys.program),
            self._fit_again(course_term, absorb="course_term"),
            self.main.table.assign(model=self.main.table["model"] + "|double lasso"),
        ]
        by_id = {driver.id: driver for driver in self.drivers}
        driver_means = {driver.id: SharedMeans(self.minimum_group) for driver in self.drivers}
        for fit in self.main.table.to_dict("records"):
            driver_means[fit["model"]].of(fit["n"], fit["driver_mean"])
        rows = []
        for fit in _concatenate(tables).to_dict("records"):
            driver_id, specification = fit["model"].split("|")
            row = {
                "driver_id": driver_id,
                "specification": specification,
                "position": SPECIFICATIONS.index(specification) + 1,
                "status": fit["status"],
                "reason": fit["reason"],
                "row_count": fit["n"],
                "control_count": len(fit["selected"]),
                "outcome_mean": self.means.of(fit["n"], fit["outcome_mean"]),
                "driver_mean": driver_means[driver_id].of(fit["n"], fit["driver_mean"]),
                "contrast_low": by_id[driver_id].low,
                "contrast_high": by_id[driver_id].high,
            }
            if fit["status"] == "estimated":
                row |= {name: fit[name] for name in ("effect", "std_error", "p_value")}
                row |= _metric(row, fit["conf_low"], fit["conf_high"])
            rows.append(row)
        order = {driver.id: driver.position for driver in self.drivers}
        return pd.DataFrame(rows).sort_values(
            ["driver_id", "position"], key=lambda c: c.map(order) if c.name == "driver_id" else c, ignore_index=True
        )

    def _is_everywhere(self, driver: _Driver) -> bool:
        """Whether the driver has a value in every row, dropped ones too."""
        return all(not batch.column(driver.column).null_count for batch in self.batches())

    def _fit_again(
        self, models: list[Model], absorb: str | None, rows: Batches | None = None, more: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Least squares on given controls; one-way clustered errors are the sandwich's."""
        if not models:
            return pd.DataFrame()
        kept = {name.split("=")[0].removesuffix(" is missing") for model in models for name in model.keep}
        columns = [*self.controls, *(d.column for d in self.drivers if not d.reason), *more]
        columns = [name for name in dict.fromkeys(columns) if name in kept]
        return fit_models(
            rows or self._rows,
            models,
            outcome=self.columns.outcome,
            controls=columns,
            absorb=absorb,
            jackknife=False,
            draws=1,
        ).table

    def dose_response(self) -> pd.DataFrame:
        """Effect by fifths of the driver, for drivers with at least `FEW_VALUES` values."""
        if self.main is None:
            return pd.DataFrame()
        models, edges_of, more = [], {}, []
        for driver, task, selected in zip(self.fitted, self.main.tasks, self.main.table["selected"], strict=True):
            if task.reason or not driver.is_count_or_amount:
                continue
            edges = _edges(driver)
            if len(edges) < 2:
                continue
            edges_of[driver.id] = edges
            bins = [f"{driver.id} in bin {b}" for b in range(1, len(edges) + 1)]
            square = f"{driver.id} squared"
            more += [*bins, square]
            models += [
                self._model(f"{driver.id}|{b}", driver, keep=[*selected, *(x for x in bins if x != name)], column=name)
                for b, name in enumerate(bins, 1)
            ]
            models.append(self._model(f"{driver.id}|square", driver, keep=[*selected, driver.column], column=square))
        if not models:
            return pd.DataFrame()
        binned = [driver for driver in self.fitted if driver.id in edges_of]

        def rows() -> Iterator[pa.RecordBatch]:
            for batch in self._rows():
                yield _with(batch, _bin_columns(batch, binned, edges_of))

        fits = self._fit_again(models, self.columns.program, rows, more).set_index("model").to_dict("index")
        tables = [self._dose_rows(driver, edges_of[driver.id], fits) for driver in binned]
        return _concatenate(tables)

    def _dose_rows(self, driver: _Driver, edges: np.ndarray, fits: dict[str, dict[str, Any]]) -> pd.DataFrame:
        """Retention in each bin against the lowest one, and what the straight line says."""
        position = self.fitted.index(driver)
        task = self.main.tasks[position]
        alpha, mean_outcome = task.effect, self.means.of(task.n, task.outcome_mean)
        bounds = np.concatenate([[-np.inf], edges, [np.inf]])
        curvature = fits[f"{driver.id}|square"]
        rows, shifts = [], 0.0
        for b in range(len(edges) + 1):
            inside = (driver.values >= bounds[b]) & (driver.values < bounds[b + 1])
            count = driver.counts[inside].sum()
            row = {
                "driver_id": driver.id,
                "bin": b + 1,
                "bin_low": driver.values[inside].min(),
                "bin_high": driver.values[inside].max(),
                "bin_mean": float(driver.values[inside] @ driver.counts[inside] / count),
                "row_count": int(count),
                "status": "estimated",
            }
            fit = fits.get(
                f"{driver.id}|{b}", {"status": "estimated", "effect": 0.0, "conf_low": 0.0, "conf_high": 0.0}
            )
            row["status"] = fit["status"]
            row["reason"] = fit.get("reason")
            points = [100 * fit[name] for name in ("effect", "conf_low", "conf_high")]
            row["points"], row["points_low"], row["points_high"] = points
            row["linear_points"] = 100 * alpha * (row["bin_mean"] - (rows[0]["bin_mean"] if rows else row["bin_mean"]))
            row["curvature_p_value"] = curvature["p_value"]
            shifts += np.nan_to_num(fit["effect"]) * count
            rows.append(row)
        # mean prediction with everybody in the lowest bin, all else as it is
        base = mean_outcome - shifts / driver.counts.sum()
        for row in rows:
            row["retention"] = base + row["points"] / 100
            for end in ("", "_low", "_high"):
                row[f"percent{end}"] = row[f"points{end}"] / base
        return pd.DataFrame(rows)

    # programs

    def by_program(self) -> pd.DataFrame:
        """Each driver within each program, selected anew, at the contrast of all programs together."""
        if self.main is None:
            return pd.DataFrame()
        tables = []
        for program, table in _by_key(self._rows, self.columns.program):
            fits = fit_models(
                table,
                [self._model(driver.id, driver, driver.controls) for driver in self.fitted],
                outcome=self.columns.outcome,
                controls=self.controls,
                require=PROGRAM_REQUIREMENTS,
                draws=1,
            )
            found, means = fits.table.to_dict("records"), SharedMeans(self.minimum_group)
            for fit in sorted(found, key=lambda fit: -fit["n"]):
                means.of(fit["n"], fit["outcome_mean"])
            rows = [self._describe_row(driver, fit, means) for driver, fit in zip(self.fitted, found, strict=True)]
            tables.append(pd.DataFrame(rows).assign(program_key=program))
        return self._without_small_rests(_concatenate(tables))

    def _without_small_rests(self, programs: pd.DataFrame) -> pd.DataFrame:
        """No count of a program without an answer; nor an answer where all others would leave a small rest."""
        few = programs["reason"].fillna("").str.startswith("too few rows")
        programs.loc[few, "reason"] = f"too few rows: fewer than {PROGRAM_REQUIREMENTS.rows:,} in the program's sample"
        programs["row_count"] = programs["row_count"].astype("float64").mask(few)
        for driver, task in zip(self.fitted, self.main.tasks, strict=True):
            counted = programs.loc[programs["driver_id"] == driver.id, "row_count"].dropna()
            if len(counted) and 0 < task.n - counted.sum() < self.minimum_group:
                described = ["driver_id", "program_key", "position", "level", "contrast_rule"]
                programs.loc[counted.idxmin(), programs.columns.difference(described)] = None
                programs.loc[counted.idxmin(), ["status", "reason"]] = ["not estimable", WITHHELD]
        return programs

    # placebos

    def placebos(self, draws: int) -> pd.DataFrame:
        """Block reassignments, noise, and an outcome that was fixed before the drivers."""
        if self.main is None or not draws:
            return pd.DataFrame()
        tasks, rows = self.main.tasks, []
        usable = [i for i, task in enumerate(tasks) if not task.reason]
        # whole clusters swap what is the same for all of a cluster: designs, and what a term has
        courses = [i for i in usable if tasks[i].kind == "jackknife" and self._is_of_clusters(i)]
        learners = [i for i in usable if self.fitted[i].kind in ("program", "own") and i not in courses]
        unit = "learner" if self.name == "learner_course" else None
        swaps = {"stratum": "program_term", "unit": unit, "draws": draws}
        found = {i: swap_clusters(self.main, i, draws=draws, seed=self.seed) for i in courses}
        if learners:
            found |= swap_learners(self.main, learners, seed=self.seed, **swaps)
        for i, result in sorted(found.items()):
            rows.append(_placebo_row(self.fitted[i], "reassigned in blocks", result))
        if courses:
            noise = swap_clusters(self.main, courses[0], draws=draws, seed=self.seed + 1, noise=True)
            block = "course" if self.name == "learner_course" else "first term"
            rows.append(_placebo_row(self.fitted[courses[0]], f"noise by {block}", noise))
        if learners:
            noise = swap_learners(self.main, learners[:1], seed=self.seed + 1, noise=True, **swaps)[learners[0]]
            rows.append(_placebo_row(self.fitted[learners[0]], "noise by learner", noise))
        return _concatenate([pd.DataFrame(rows), self._earlier_outcome()])

    def _is_of_clusters(self, position: int) -> bool:
        task = self.main.tasks[position]
        if self.fitted[position].kind != "program":
            return self.fitted[position].kind != "own"
        grams = self.main.grams[task.sample, task.dims[0]]
        fixed = grams.fixed_within_clusters(np.diag(self.main.samples[task.sample].scatter)[grams.columns])
        return bool(fixed[grams.columns == task.driver].all())

    def _earlier_outcome(self) -> pd.DataFrame:
        """The same models for an outcome that no driver can have changed: what is left is confounding."""
        if NEGATIVE_OUTCOME not in self.there:
            return pd.DataFrame()
        # an absent value would be an absent outcome
        missing = sum(batch.column(NEGATIVE_OUTCOME).null_count for batch in self.batches())
        if missing:
            return pd.DataFrame()
        controls = [c for c in self.controls if c != NEGATIVE_OUTCOME]
        models = [
            self._model(d.id, d, [c for c in d.controls if c != NEGATIVE_OUTCOME])
            for d, task in zip(self.fitted, self.main.tasks, strict=True)
            if not task.reason
        ]
        if not models:
            return pd.DataFrame()
        fits = fit_models(
            self._rows,
            models,
            outcome=NEGATIVE_OUTCOME,
            controls=controls,
            absorb=self.columns.program,
            jackknife=False,
            draws=1,
        )
        by_id = {driver.id: driver for driver in self.drivers}
        rows = []
        for fit in fits.table.to_dict("records"):
            driver = by_id[fit["model"]]
            rows.append(
                {
                    "driver_id": driver.id,
                    "kind": driver.kind,
                    "placebo": "earlier outcome",
                    "outcome": NEGATIVE_OUTCOME,
                    "draw_count": 1,
                    "rejected_count": int(fit["p_value"] < 0.05),
                    "p_value": fit["p_value"],
                    "outcome_change": fit["effect"] * (driver.high - driver.low),
                }
            )
        return pd.DataFrame(rows)


WITHHELD = "withheld: with the figures of all programs, those of a program with very few rows would follow"

_LOWEST_BIN = {"status": "estimated", "effect": 0.0, "conf_low": 0.0, "conf_high": 0.0}

# The specification curve, from nothing to everything
SPECIFICATIONS = (
    "naive",
    "program only",
    "and student",
    "double lasso",
    "all eligible",
    "and doubtful controls",
    "course and term absorbed",
    "dropped courses too",
)


def _percent(alpha: float, row: Mapping[str, Any]) -> float:
    low, high = row["contrast_low"], row["contrast_high"]
    return float(100 * alpha * (high - low) / (row["outcome_mean"] + alpha * (low - row["driver_mean"])))


def _metric(row: Mapping[str, Any], conf_low: float, conf_high: float) -> dict[str, float]:
    """Percent and percentage points of a row with effect, std_error, contrast and means."""
    span = row["contrast_high"] - row["contrast_low"]
    base = row["outcome_mean"] + row["effect"] * (row["contrast_low"] - row["driver_mean"])
    return {
        "percent": _percent(row["effect"], row),
        "percent_std_error": 100 * row["std_error"] * span * row["outcome_mean"] / base**2,
        "percent_low": _percent(conf_low, row),
        "percent_high": _percent(conf_high, row),
        "points": 100 * row["effect"] * span,
        "points_std_error": 100 * row["std_error"] * span,
        "points_low": 100 * conf_low * span,
        "points_high": 100 * conf_high * span,
    }


def _sensitivity(row: Mapping[str, Any], fit: Mapping[str, Any]) -> dict[str, Any]:
    """What an unseen confounder would have to be, and what one like a control that we see would do ([1])."""
    nearest = fit["conf_low"] if fit["effect"] > 0 else fit["conf_high"]
    value = fit["robustness_value"]
    found = {
        "robustness_value": value,
        "robustness_value_of_interval": inference.robustness_of_bound(value, fit["effect"], nearest),
        "benchmark_control": fit["benchmark_control"],
        "benchmark_r2_driver": fit["benchmark_r2_driver"],
        "benchmark_r2_outcome": fit["benchmark_r2_outcome"],
    }
    if nearest * fit["effect"] <= 0:
        # the interval holds zero: what it does exclude
        found["excluded_beyond_percent"] = max(abs(row["percent_low"]), abs(row["percent_high"]))
    if fit["benchmark_control"] is not None:
        found["benchmark_strength"] = inference.equal_strength(fit["benchmark_r2_driver"], fit["benchmark_r2_outcome"])
        hidden = inference.share_hidden_by_twin(value, fit["benchmark_r2_driver"], fit["benchmark_r2_outcome"])
        if np.isfinite(hidden):
            found["percent_with_benchmark_twin"] = _percent(fit["effect"] * (1 - hidden), row)
    return found


def _adjust_together(effects: pd.DataFrame, fits: list[Fits], seed: int) -> None:
    """Benjamini-Hochberg and Romano-Wolf over the drivers of both levels, which are one family."""
    for name in ("q_value", "romano_wolf_p"):
        effects[name] = np.nan
    estimated = np.flatnonzero(effects["status"] == "estimated")
    if not len(estimated):
        return
    p_values = effects.loc[estimated, "p_value"].to_numpy(dtype=np.float64)
    correlation = np.eye(len(estimated))
    start = 0
    for fit in fits:
        # drivers of two levels share no clusters: 0 is the cautious choice
        end = start + len(fit.correlation)
        correlation[start:end, start:end] = fit.correlation
        start = end
    degrees = effects.loc[estimated, "degrees_of_freedom"].to_numpy(dtype=np.float64)
    effects.loc[estimated, "q_value"] = inference.benjamini_hochberg(p_values)
    effects.loc[estimated, "romano_wolf_p"] = inference.romano_wolf(
        p_values, degrees, correlation, draws=9999, seed=seed
    )


def _with_course_term(effects: pd.DataFrame, specifications: pd.DataFrame) -> pd.DataFrame:
    """Own drivers beside their figure with course × term absorbed."""
    if not len(specifications):
        return effects
    rows = specifications[specifications["specification"] == "course and term absorbed"].set_index("driver_id")
    rows = rows.reindex(columns=["percent", "percent_low", "percent_high"])  # absent if none could be estimated
    for name in rows.columns:
        effects[f"course_term_{name}"] = effects["driver_id"].map(rows[name])
    return effects


def shrink(estimates: np.ndarray, std_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimates (k,) drawn to their mean by as much as chance explains their spread ([2]).

    Returns
    -------
    shrunken estimates (k,), their standard errors (k,), and the standard deviation between the true ones
    """
    variances = np.square(std_errors)

    def centre(between: float) -> tuple[float, np.ndarray]:
        weights = 1 / (variances + between)
        return float(weights @ estimates / weights.sum()), weights

    def excess(between: float) -> float:
        mean, weights = centre(between)
        return float(weights @ np.square(estimates - mean)) - (len(estimates) - 1)

    low, high = 0.0, float(np.var(estimates) * len(estimates)) + 1e-12
    if len(estimates) < 2 or excess(0.0) <= 0:
        between = 0.0
    else:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        between = (low + high) / 2
    mean, weights = centre(between)
    kept = between / (between + variances)
    errors = np.sqrt(kept * variances + (1 - kept) ** 2 / weights.sum())
    return mean + kept * (estimates - mean), errors, float(np.sqrt(between))


def _shrunken(programs: pd.DataFrame) -> pd.DataFrame:
    """Rows by program with the program's percent drawn to the mean of all programs'."""
    for name in ("shrunken_percent", "shrunken_std_error", "between_program_percent"):
        programs[name] = np.nan
    for _, rows in programs[programs["status"] == "estimated"].groupby("driver_id"):
        values, errors, between = shrink(
            rows["percent"].to_numpy(dtype=np.float64), rows["percent_std_error"].to_numpy(dtype=np.float64)
        )
        programs.loc[rows.index, "shrunken_percent"] = values
        programs.loc[rows.index, "shrunken_std_error"] = errors
        programs.loc[rows.index, "between_program_percent"] = between
    return programs


def _with_spread(effects: pd.DataFrame, programs: pd.DataFrame) -> pd.DataFrame:
    """The rows over all programs with how many programs have an estimate, and how far these truly differ."""
    within = programs[programs["status"] == "estimated"].groupby("driver_id")
    effects["program_count"] = effects["driver_id"].map(within.size())
    effects["between_program_percent"] = effects["driver_id"].map(within["between_program_percent"].first())
    return effects


def _placebo_row(driver: _Driver, placebo: str, draws: Draws) -> dict[str, Any]:
    return {
        "driver_id": driver.id if placebo == "reassigned in blocks" else None,
        "kind": driver.kind,
        "placebo": placebo,
        "outcome": "is_retained",
        "draw_count": len(draws.p_values),
        "rejected_count": int((draws.p_values < 0.05).sum()),
        "spread_over_std_error": float(np.std(draws.effects) / np.sqrt(np.mean(np.square(draws.std_errors)))),
    }


def placebo_errors(placebos: pd.DataFrame, bounds: tuple[float, float] = PLACEBO_BOUNDS) -> list[str]:
    """Kinds of drivers whose reassigned or noise placebos are rejected too often, or hardly ever.

    The share is taken over all placebos of a kind, whose errors are computed alike: of 200 draws alone, 5 % come out
    below 1 % or above 10 % by chance too often for a check that stops a publication.
    """
    errors = []
    for kind, rows in placebos[placebos["placebo"] != "earlier outcome"].groupby("kind"):
        draws = int(rows["draw_count"].sum())
        share = rows["rejected_count"].sum() / draws
        if not bounds[0] <= share <= bounds[1]:
            errors.append(f"{kind}: {100 * share:.1f} % of {draws:,} placebos rejected at the 5 % level")
    return errors


def _edges(driver: _Driver) -> np.ndarray:
    """Inner bounds of at most `BINS` bins with about as many rows; values equal to a bound belong above."""
    cuts = np.unique([driver.quantile(b / BINS) for b in range(1, BINS)])
    cuts = cuts[(cuts > driver.values[0]) & (cuts <= driver.values[-1])]
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    filled = [
        cut for cut, low in zip(cuts, ends, strict=False) if ((driver.values >= low) & (driver.values < cut)).any()
    ]
    return np.array(filled)


def _bin_columns(
    batch: pa.RecordBatch, drivers: Iterable[_Driver], edges_of: Mapping[str, np.ndarray]
) -> dict[str, pa.Array]:
    columns = {}
    for driver in drivers:
        values = batch.column(driver.column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        known = np.isfinite(values)
        bins = np.searchsorted(edges_of[driver.id], values, side="right")
        for b in range(1, len(edges_of[driver.id]) + 1):
            columns[f"{driver.id} in bin {b}"] = pa.array((bins == b) & known)
        centre = driver.quantile(0.5)
        columns[f"{driver.id} squared"] = pa.array(np.where(known, np.square(values - centre), 0.0))
    return columns


def _merged(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, with their counts."""
    values, where = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    return values, np.bincount(where, np.concatenate([c for _, c in parts]), len(values)).astype(np.int64)


def _joint_key(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    columns = [batch.column(name).cast(pa.string()) for name in names]
    return pc.binary_join_element_wise(*columns, "|")


def _with(batch: pa.RecordBatch, more: Mapping[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns, *more.values()], names=[*batch.schema.names, *more])


def _by_key(batches: Batches, key: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of one key after the other, of a stream that is ordered by it."""
    held: list[pa.RecordBatch] = []
    current, seen = None, set()
    for batch in batches():
        codes = batch.column(key).dictionary_encode()
        names, codes = codes.dictionary.to_pylist(), codes.indices.to_numpy()
        bounds = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
        for a, b in pairwise(bounds):
            name = names[codes[a]]
            if name != current:
                if held:
                    yield current, pa.Table.from_batches(held)
                if name in seen:
                    raise ValueError(f"The rows come back to {key} {name}: order the stream by {key}.")
                seen.add(name)
                current, held = name, []
            held.append(batch.slice(a, b - a))
    if held:
        yield current, pa.Table.from_batches(held)


def _concatenate(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    there = [table for table in tables if len(table)]
    return pd.concat(there, ignore_index=True) if there else pd.DataFrame()
