"""The drivers of one level of analysis: their rows, samples, contrasts and models.

The contrast (low, high)
    0 to 1 for drivers that are yes or no, or mostly zero; the printed one where the report prints one; else our
    quartiles, and median to median + 1 for a count whose quartiles are equal. A contrast with an end outside the 2.5 to
    97.5 % range of our data gives way to our quartiles; the rule that was used stands with the row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.double_lasso.fits import Fits, Model, fit_models
from dagster_project.stats.double_lasso.task import Requirements, StdError
from dagster_project.stats.suppression import SharedMeans

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

STUDENT_GROUPS = ("STU", "ADM")
OPEN_GROUPS = ("OPN", "OPN_STACKABLE_ENROLLED", "OPN_STACKABLE_COMPLETED")
PRINTED_OPEN_GROUP = (
    "OPN_PRINTED"  # the same open courses as the report counts them: in the place of these, never beside
)
FEW_VALUES = 5  # a driver with fewer distinct values has no dose-response
RANGE = (0.025, 0.975)
# Within one program nothing is left of programs; terms are the clusters that learners share.
CLUSTERS = {"program": ("program_term",), "design": ("course",), "course": ("course",), "own": ("learner", "course")}
# Where there are too few courses for these: learners of one course are compared, so that what a course does to all of
# them is out, and a first term may shake its learners alike (tests/statistics/test_small_university_simulation.py).
WITHIN_COURSES = ("program_term",)


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are neither drivers nor controls."""

    program: str = "program_key"
    learner: str = "learner_key"
    course: str = "course_key"
    term: str = "first_term_key"
    outcome: str = "is_retained"
    dropped: str = "is_dropped"


@dataclass
class Driver:
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
    disjoint_open: list[str] = field(default_factory=list)  # controls of open content that exclude each other
    replaced: list[str] = field(default_factory=list)  # controls that give way to those of `sensitivity`
    reason: str = ""
    sample: str | None = None
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))  # distinct values of the sample, ascending
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    has_few_courses: bool = False  # fewer than errors can be clustered by
    rule: str | None = None
    low: float = np.nan
    high: float = np.nan

    @property
    def clusters(self) -> tuple[str, ...]:
        """What its errors cluster by."""
        return WITHIN_COURSES if self.has_few_courses else CLUSTERS[self.kind]

    @property
    def is_count_or_amount(self) -> bool:
        """Whether it has values enough for a dose-response."""
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
        """Choose ``low`` and ``high``, and say by which ``rule``."""
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


class Level:
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
        with_graduates: Batches | None = None,
    ) -> None:
        self.name, self.columns, self.seed = name, columns, seed
        self.batches: Batches = batches or _no_rows
        self.with_graduates = with_graduates
        self.minimum_group = minimum_group
        # by driver, None for all rows: the mean outcome of its sample that is published, and whose sample that is
        self.outcome_means: dict[str | None, float] = {}
        self.told_by: dict[str | None, str | None] = {}
        self.main: Fits | None = None
        self.fitted: list[Driver] = []  # in the order of the models of `main`
        self.wild = columns.program  # what the wild bootstrap clusters by
        self.drivers = [
            Driver(
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
        found = next(iter(self.batches()), None)
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
            doubtful = [(c, g) for c, g in columns if verdict.get(g) == "sensitivity" and c != driver.column]
            driver.sensitivity = [c for c, _ in doubtful]
            driver.disjoint_open = [c for c, g in allowed if g in OPEN_GROUPS]
            if PRINTED_OPEN_GROUP in {g for _, g in doubtful}:
                driver.replaced = driver.disjoint_open
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
            self.rows,
            [self.model(driver.id, driver, driver.controls) for driver in asked],
            outcome=self.columns.outcome,
            controls=self.controls,
            absorb=self.columns.program,
            wild_bootstrap=self.wild,
            more_clusters=["program_term", *(["learner"] if self.wild == "program_term" else [])],
            seed=self.seed,
        )
        by_id = {driver.id: driver for driver in self.drivers}
        self.fitted = [by_id[name] for name in self.main.table["model"]]

    def model(
        self,
        name: str,
        driver: Driver,
        candidates: Sequence[str] = (),
        keep: Sequence[str] = (),
        column: str | None = None,
    ) -> Model:
        """A regression on the driver, or on ``column`` in its place, in the driver's sample and clusters."""
        names = {"course": self.columns.course}
        clusters = tuple(names.get(cluster, cluster) for cluster in driver.clusters)
        if driver.has_few_courses:
            keep = [*keep, self.columns.course]
        return Model(name, column or driver.column, candidates, keep, driver.sample, clusters)

    def rows(self, batches: Batches | None = None) -> Iterator[pa.RecordBatch]:
        """The level's rows, or others like them, with what the models need beside the columns of the warehouse."""
        keys = self.columns
        for batch in (batches or self.batches)():
            more = {"program_term": _joint_key(batch, [keys.program, keys.term])}
            if self.name == "learner_course":
                # A learner in two programs has two outcomes, and in a stream ordered by program no place of their own.
                more["learner"] = _joint_key(batch, [keys.program, keys.learner])
                more["course_term"] = _joint_key(batch, [keys.course, keys.term])
            for driver in self.drivers:
                if driver.sample is not None and driver.sample not in more and not driver.reason:
                    more[driver.sample] = self.in_sample(batch, driver)
            yield with_columns(batch, more)

    def in_sample(self, batch: pa.RecordBatch, driver: Driver) -> pa.Array:
        """Which rows of a batch count for a driver."""
        values = batch.column(driver.column)
        kept = values.is_valid()
        if pa.types.is_floating(values.type):
            kept = _both(kept, pc.call_function("invert", [values.is_nan()]))
        if driver.sample_rule == "share > 0":
            kept = _both(kept, pc.call_function("greater", [values, pa.scalar(0)]))
        if driver.sample_rule == "not dropped":
            kept = _both(kept, pc.call_function("invert", [batch.column(self.columns.dropped).fill_null(False)]))
        return kept

    def _describe(self, asked: list[Driver]) -> None:
        """One pass: distinct values of every driver in its sample, which samples are alike, and the outcome's means."""
        rows, means = 0, SharedMeans(len(asked) + 1, self.minimum_group)
        known: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {driver.id: [] for driver in asked}
        marks: dict[str, int] = {driver.id: 0 for driver in asked}
        sizes: dict[str, int] = {driver.id: 0 for driver in asked}
        courses: dict[str, set[str]] = {driver.id: set() for driver in asked if driver.kind == "own"}
        for batch in self.batches():
            rows += batch.num_rows
            member = [self.in_sample(batch, driver) for driver in asked]
            self._add_means(means, batch, member)
            for driver, kept in zip(asked, member, strict=True):
                values = batch.column(driver.column).filter(kept).cast(pa.float64()).to_numpy(zero_copy_only=False)
                known[driver.id].append(np.unique(values, return_counts=True))
                sizes[driver.id] += len(values)
                if driver.kind == "own" and len(courses[driver.id]) < Requirements().clusters:
                    courses[driver.id].update(batch.column(self.columns.course).filter(kept).unique().to_pylist())
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
            driver.has_few_courses = 0 < len(courses.get(driver.id, ())) < Requirements().clusters
            if sizes[driver.id] < rows:
                driver.sample = first.setdefault(marks[driver.id], f"in the sample of {driver.id}")
        if any(driver.has_few_courses for driver in asked):
            self.controls.append(self.columns.course)
            self.wild = "program_term"
        samples = [*(driver.id for driver in asked), None]
        told = [samples[i] for i in means.told()]
        self.told_by = dict(zip(samples, told, strict=True))
        self.outcome_means = dict(zip(samples, means.means().tolist(), strict=True))

    def _add_means(self, means: SharedMeans, batch: pa.RecordBatch, member: Sequence[pa.Array]) -> None:
        """Take a batch into the means of some samples and of all rows."""
        inside = [kept.to_numpy(zero_copy_only=False) for kept in member] + [np.ones(batch.num_rows, dtype=bool)]
        outcome = batch.column(self.columns.outcome).cast(pa.float64()).to_numpy(zero_copy_only=False)
        means.add(np.array(inside), outcome)

    def outcome_means_of(self, table: pa.Table) -> dict[str, float]:
        """The same means, by driver, of a part of the rows."""
        means = SharedMeans(len(self.fitted) + 1, self.minimum_group)
        for batch in table.to_batches():
            self._add_means(means, batch, [self.in_sample(batch, driver) for driver in self.fitted])
        return dict(zip((driver.id for driver in self.fitted), means.means().tolist()[:-1], strict=True))

    def fit_again(
        self,
        models: list[Model],
        absorb: str | None,
        rows: Batches | None = None,
        more: Sequence[str] = (),
        std_error: StdError = "jackknife",
    ) -> pd.DataFrame:
        """Least squares on given controls, which may be as many as there are."""
        import pandas as pd

        if not models:
            return pd.DataFrame()
        kept = {name.split("=")[0].removesuffix(" is missing") for model in models for name in model.keep}
        columns = [*self.controls, *(d.column for d in self.drivers if not d.reason), *more]
        columns = [name for name in dict.fromkeys(columns) if name in kept]
        return fit_models(
            rows or self.rows,
            models,
            outcome=self.columns.outcome,
            controls=columns,
            absorb=absorb,
            std_error=std_error,
            require=Requirements(clusters_per_control=0),
            draws=1,
        ).table


def _no_rows() -> Iterator[pa.RecordBatch]:
    return iter(())


def _both(first: pa.Array, second: pa.Array) -> pa.Array:
    """Where both are true; missing counts as false."""
    return pc.call_function("and", [first, second]).fill_null(False)


def _merged(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, with their counts."""
    values, where = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    return values, np.bincount(where, np.concatenate([c for _, c in parts]), len(values)).astype(np.int64)


def _joint_key(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    columns = [batch.column(name).cast(pa.string()) for name in names]
    return pc.call_function("binary_join_element_wise", [*columns, pa.scalar("|")])


def with_columns(batch: pa.RecordBatch, more: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A batch with more columns behind its own."""
    return pa.RecordBatch.from_arrays([*batch.columns, *more.values()], names=[*batch.schema.names, *more])


def concatenate(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, but for those without rows, whose columns have no types."""
    import pandas as pd

    there = [table for table in tables if len(table)]
    return pd.concat(there, ignore_index=True) if there else pd.DataFrame()
