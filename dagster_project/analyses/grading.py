"""Who graded: severity of kinds of graders and of single ones, how they agree, and grades on one scale.

The model and its papers are in `dagster_project/stats/item_response/facets.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.item_response.facets import Facets, agreement, fit_facets
from dagster_project.stats.one_thread import one_thread_for_algebra
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = "analytics.grader_severities"
AGREEMENT = "analytics.grader_agreement"
ADJUSTED = "analytics.adjusted_grades"
TABLES = (SEVERITIES, AGREEMENT, ADJUSTED)
MARKS = "features.feature_grader_marks"
READS = (MARKS, "core.dim_source")
REFERENCE = "staff"
NORMAL_95 = 1.959964
HALF_YEAR = "year(marked_on) + case when month(marked_on) > 6 then 0.5 else 0.0 end"
FIGURES = ("severity", "std_error", "points", "points_error", "drift", "drift_error", "points_low", "points_high")


class Marks(NamedTuple):
    """Marks of a source: numbers in place of keys, and the keys."""

    learner: np.ndarray
    hand_in: np.ndarray
    item: np.ndarray
    item_in_half_year: np.ndarray
    group: np.ndarray
    kind: np.ndarray
    grader: np.ndarray
    share: np.ndarray
    steps: np.ndarray
    period: np.ndarray
    enrollment: np.ndarray
    submission_keys: pa.Array
    learner_keys: pa.Array
    enrollment_keys: pa.Array


def analyse_grading(store: Warehouse, settings: Settings, say: Callable[[str], None]) -> dict[str, list[pd.DataFrame]]:
    """Severities, agreement and adjusted grades, source by source.

    Returns:
        By table, one frame a source, each with some of the table's columns.
    """
    minimum = settings.minimum_group_size
    frames: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    # Where nothing tells when a source's data end, they end with its last mark.
    query = (
        "select sources.source, coalesce(sources.last_data_on, max(marks.marked_on)) as last_on "
        f"from core.dim_source as sources inner join {MARKS} as marks on sources.source = marks.source "
        "group by sources.source, sources.last_data_on order by sources.source"
    )
    sources = [(row["source"], row["last_on"]) for batch in store.batches(query) for row in batch.to_pylist()]
    with one_thread_for_algebra():
        for source, last in sources:
            marks = read_marks(store, source)
            if not len(marks.share):
                continue
            fit = fit_facets(
                marks.learner,
                marks.hand_in,
                marks.item_in_half_year,
                marks.kind,
                marks.share,
                grader=marks.grader,
                period=marks.period,
                steps=marks.steps,
                group=marks.group,
                reference=REFERENCE,
                fewest=minimum,
            )
            about = {"source": source, "as_of": last}
            severities = severity_rows(fit, marks, minimum).assign(**about)
            agreed = agreement(marks.hand_in, marks.item, marks.learner, marks.kind, marks.share, fewest=minimum)
            adjusted = adjusted_rows(fit, marks).assign(source=source)
            frames[SEVERITIES].append(severities)
            frames[AGREEMENT].append(agreement_rows(agreed).assign(**about))
            frames[ADJUSTED].append(adjusted)
            shown = int(severities["is_shown"].sum())
            say(f"{source}: {len(marks.share):,} marks, {shown} of {len(severities)} severities shown")
    return frames


def read_marks(store: Warehouse, source: str) -> Marks:
    """Marks of a source, in an order that does not depend on how they lie in the warehouse."""
    query = (
        "select learner_key, course_enrollment_key, submission_key, course_item_key, submission_graded_by, graded_by, "
        f"grader_key, score_share, {HALF_YEAR} as period, "
        f"min({HALF_YEAR}) over (partition by submission_key) as first_period, "
        # The scale of an item: its whole points, where there are no others and few enough; else tenths.
        "case when bool_and(score = floor(score) and maximum_score = floor(maximum_score)) over of_item "
        "and min(maximum_score) over of_item = max(maximum_score) over of_item and max(maximum_score) over of_item "
        "between 1 and 10 then cast(max(maximum_score) over of_item as integer) else 10 end as steps "
        f"from {MARKS} where source = {literal(source)} and marked_on is not null and score_share between 0 and 1 "
        "window of_item as (partition by course_item_key) "
        "order by learner_key, submission_key, graded_by, grader_key nulls first, marked_on, score_share"
    )
    batches = list(store.batches(query))
    if not batches:
        none, keys = np.empty(0), pa.array([], pa.string())
        return Marks(*[none] * 11, *[keys] * 3)
    table = pa.Table.from_batches(batches)

    def coded(name: str) -> tuple[np.ndarray, pa.Array]:
        column = table[name].combine_chunks().dictionary_encode()
        return column.indices.fill_null(-1).to_numpy(zero_copy_only=False), column.dictionary

    learner, learner_keys = coded("learner_key")
    hand_in, submission_keys = coded("submission_key")
    item = coded("course_item_key")[0].astype(np.int64)
    # What an item asks for, and of whom, may change: difficulty is that of the item in the half-year of the hand-in.
    half_year = (2 * (table["first_period"].to_numpy().astype(float) - 1900)).astype(np.int64)
    enrollment, enrollment_keys = coded("course_enrollment_key")
    kind, kinds = coded("graded_by")
    grader, graders = coded("grader_key")
    return Marks(
        learner=learner,
        hand_in=hand_in,
        item=item,
        item_in_half_year=item * (1 + half_year.max()) + half_year,
        group=coded("submission_graded_by")[0] * (1 + half_year.max()) + half_year,
        kind=np.array(kinds.to_pylist())[kind],
        grader=np.array([*graders.to_pylist(), None], object)[grader],
        share=table["score_share"].to_numpy(),
        steps=table["steps"].to_numpy(),
        period=table["period"].to_numpy().astype(float),
        enrollment=enrollment,
        submission_keys=submission_keys,
        learner_keys=learner_keys,
        enrollment_keys=enrollment_keys,
    )


def severity_rows(fit: Facets, marks: Marks, minimum: int) -> pd.DataFrame:
    """Rows of the table; figures of too few learners are left out."""
    import pandas as pd

    rows = fit.severities.copy()
    rows["points_low"] = rows["points"] - NORMAL_95 * rows["points_error"]
    rows["points_high"] = rows["points"] + NORMAL_95 * rows["points_error"]
    counted = pd.DataFrame(
        {"kind": marks.kind, "period": marks.period, "grader": marks.grader, "learner": marks.learner}
    )
    of_kind = counted.groupby("kind")["learner"].nunique()
    of_period = counted.groupby(["kind", "period"])["learner"].nunique()
    of_grader = counted.dropna(subset="grader").groupby("grader")["learner"].nunique()
    rows["learner_count"] = [
        of_grader[grader] if grader is not None else of_kind[kind] if np.isnan(period) else of_period[kind, period]
        for kind, period, grader in zip(rows["kind"], rows["period"], rows["grader"], strict=True)
    ]
    small = (rows["learner_count"] < minimum) & rows["reason"].isna()
    rows.loc[small, "reason"] = f"Fewer than {minimum} learners have such a grade."
    hidden = rows["reason"].notna()
    rows.loc[hidden, list(FIGURES)] = np.nan
    year = rows["period"].floordiv(1)
    half = pd.to_datetime(
        pd.DataFrame({"year": year.fillna(2000), "month": np.where(rows["period"] % 1 == 0.5, 7, 1), "day": 1})
    )
    compared = np.where(rows["grader"].isna(), fit.reference, rows["kind"])
    return pd.DataFrame(
        {
            "graded_by": rows["kind"],
            "grader_key": rows["grader"],
            "half_year_on": half.where(year.notna()).dt.date.where(year.notna(), None),
            "compared_with": compared,
            "mark_count": rows["n"],
            "linked_mark_count": rows["linked_count"],
            "is_shown": ~hidden,
            "withheld_reason": rows["reason"],
            "severity_points": rows["points"],
            "std_error_points": rows["points_error"],
            "severity_points_low": rows["points_low"],
            "severity_points_high": rows["points_high"],
            "severity_logits": rows["severity"],
            "std_error_logits": rows["std_error"],
            "drift_points": rows["drift"],
            "std_error_drift": rows["drift_error"],
        }
    )


def agreement_rows(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table; counts of too few learners are left out."""
    hidden = found["reason"].notna()
    counts = ["hand_in_count", "learner_count", "item_count"]
    found[counts] = found[counts].astype(float).mask(hidden, np.nan)
    low, high = (found["mean_difference"] + sign * NORMAL_95 * found["std_error"] for sign in (-1, 1))
    return found.rename(
        columns={
            "kind": "graded_by",
            "other_kind": "other_graded_by",
            "hand_in_count": "submission_count",
            "mean_difference": "difference_points",
            "std_error": "std_error_points",
            "reason": "withheld_reason",
        }
    ).assign(difference_points_low=low, difference_points_high=high, is_shown=~hidden)


def adjusted_rows(fit: Facets, marks: Marks) -> pd.DataFrame:
    """Rows of the table."""
    import pandas as pd

    rows = fit.adjusted()
    hand_in = rows["hand_in"].to_numpy(np.int64)
    first = np.zeros(len(marks.submission_keys), np.int64)
    first[marks.hand_in] = np.arange(len(marks.hand_in))

    def keys(names: pa.Array, codes: np.ndarray) -> list[str]:
        return names.take(pa.array(codes[first[hand_in]])).to_pylist()

    return pd.DataFrame(
        {
            "submission_key": keys(marks.submission_keys, marks.hand_in),
            "learner_key": keys(marks.learner_keys, marks.learner),
            "course_enrollment_key": keys(marks.enrollment_keys, marks.enrollment),
            "mark_count": rows["mark_count"],
            "given_points": rows["marked"],
            "adjusted_points": rows["adjusted"],
            "std_error": rows["std_error"],
        }
    )
