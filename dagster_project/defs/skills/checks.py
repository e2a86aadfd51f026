"""What must hold before abilities and benchmarks are published."""

from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.analyses.skills.practice import NEXT_COURSES, NEXT_QUESTIONS, SERVED, TAKEN
from dagster_project.defs.analytics import asset_key
from dagster_project.defs.resources import WarehouseResource
from dagster_project.stats.skills.practice import exposure_limit
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


MOST_MISFIT = 0.10  # share of the answers
MOST_MOVED = 0.20  # share of the anchors
LARGEST_LINK = 0.25  # shift in sds of ability, and logarithm of the scale, from one month to the next


def _result(errors: list[str], **metadata) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=not errors, metadata={"found": dg.MetadataValue.json(errors[:50]), **metadata})


def _scales(warehouse: WarehouseResource) -> "pd.DataFrame":
    scales = Warehouse(warehouse.settings).read("analytics.skill_scales")
    return scales[scales["bank_version"].notna()]


@dg.asset_check(asset=asset_key("analytics.skill_scales"), blocking=True)
def skill_scales_hold_courses_that_are_placed(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """It is known where every course on a scale lies among the others: without, its abilities would not compare."""
    most = warehouse.settings.largest_course_error
    scales = _scales(warehouse)
    # In sd of the calibration that chose the courses: a link turns it into those of the first one.
    error = scales["largest_course_error"] / scales["link_scale"].fillna(1.0).astype(float)
    loose = scales.assign(error=error)[~(error <= most)]
    return _result(
        [
            f"{row.skill_key}: a course is placed with a standard error of {row.error:.2f}, not {most}"
            for row in loose.itertuples()
        ],
        scales=len(scales),
    )


@dg.asset_check(asset=asset_key("analytics.skill_scales"), blocking=True)
def skill_scales_have_converged(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """The last pass of each calibration moved nothing by more than a hundredth of its error."""
    scales = _scales(warehouse)
    left = scales[~scales["has_converged"].fillna(False).astype(bool)]
    return _result(
        [
            f"{row.skill_key}: no convergence within {row.iteration_count:.0f} passes; look at questions and courses "
            "with few answers, and delete the bank to calibrate again"
            for row in left.itertuples()
        ]
    )


@dg.asset_check(asset=asset_key("analytics.skill_scales"), blocking=True)
def skill_scales_have_anchors_that_stayed(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """A recalibration is linked by questions that did not move, and does not shift the scale much."""
    scales = _scales(warehouse)
    errors = []
    for row in scales[scales["reason"].notna()].itertuples():
        errors.append(f"{row.skill_key}: not linked, the bank before stays: {row.reason}")
    for row in scales[scales["anchor_count"].notna()].itertuples():
        if row.moved_anchor_share > MOST_MOVED:
            errors.append(f"{row.skill_key}: {row.moved_anchor_share:.0%} of {row.anchor_count:.0f} anchors moved")
        if abs(row.link_shift) > LARGEST_LINK or abs(row.link_scale - 1) > LARGEST_LINK:
            errors.append(f"{row.skill_key}: link × {row.link_scale:.2f} {row.link_shift:+.2f} sd")
    return _result(errors, linked=int(scales["anchor_count"].notna().sum()))


@dg.asset_check(asset=asset_key("analytics.skill_items"), blocking=True)
def skill_items_fit(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Few answers are to questions whose observed curve is more than .10 from the expected one."""
    scales = _scales(warehouse)
    bad = scales[scales["misfit_share"] > MOST_MISFIT]
    return _result(
        [
            f"{row.skill_key}: {row.misfit_share:.0%} of the answers are to misfitting questions"
            for row in bad.itertuples()
        ]
    )


@dg.asset_check(asset=asset_key("analytics.skill_abilities"), blocking=True)
def skill_abilities_are_within_bounds_and_withheld_when_uncertain(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Shown: at most .5 of error, 5 questions, a percentile within its band within 0 to 100. Withheld: no figure."""
    store = Warehouse(warehouse.settings)
    shown = (
        "not (std_error <= 0.5 and item_count >= 5 and 0 <= percentile_low and percentile_low <= percentile "
        "and percentile <= percentile_high and percentile_high <= 100)"
    )
    hidden = "withheld_reason is null or ability is not null or percentile is not null"
    query = (
        "select count(*) filter (is_shown) as shown, count(*) filter (not is_shown) as withheld, "
        f"count(*) filter (is_shown and coalesce({shown}, true)) as wrong, "
        f"count(*) filter (not is_shown and ({hidden})) as leaked from analytics.skill_abilities"
    )
    counts = next(store.batches(query)).to_pylist()[0]
    errors = [f"{counts[name]} rows {name}" for name in ("wrong", "leaked") if counts[name]]
    return _result(errors, **counts)


@dg.asset_check(asset=asset_key("analytics.skill_benchmarks"), blocking=True)
def skill_benchmarks_are_within_bounds_and_hide_small_groups(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Percentiles lie in their bands, no figure stands for too few members, hidden rows have none at all."""
    rows = Warehouse(warehouse.settings).read("analytics.skill_benchmarks")
    minimum = warehouse.settings.minimum_group_size
    shown, hidden = rows[rows["is_shown"]], rows[~rows["is_shown"]]
    placed = shown[shown["organization_percentile"].notna()]
    inside = (
        placed["organization_percentile"].between(0, 100)
        & placed["members_percentile"].between(0, 100)
        & (placed["percentile_low"] >= 0)
        & (placed["percentile_high"] <= 100)
        & (placed["percentile_low"] <= placed["percentile_high"])
    )
    figures = ["member_count", "mean_ability", "members_percentile", "organization_percentile", "band"]
    found = {
        "percentile out of bounds": int((~inside).sum()),
        f"fewer than {minimum} members": int((shown["member_count"] < minimum).sum()),
        "compared with fewer than 5": int((placed["organization_count"] < 5).sum()),
        "hidden, and yet a figure": int(hidden[figures].notna().any(axis=1).sum()),
    }
    return _result([f"{count} rows: {what}" for what, count in found.items() if count], shown=len(shown))


@dg.asset_check(asset=asset_key(NEXT_QUESTIONS), blocking=True)
def skill_next_questions_are_new_to_the_learner_and_not_overexposed(
    warehouse: WarehouseResource,
) -> dg.AssetCheckResult:
    """Ranks run from 1 without holes, nobody is asked what they answered in any version, no question goes to many."""
    store = Warehouse(warehouse.settings)
    errors = _holes(store, NEXT_QUESTIONS)
    answered = (
        f"select count(*) as n from {NEXT_QUESTIONS} as next inner join core.dim_question as questions "
        "on next.question_key = questions.question_key semi join marts.mart_skill_response as responses "
        "on next.source = responses.source and next.skill_key = responses.skill_key "
        "and next.learner_key = responses.learner_key and questions.question_id = responses.question_id"
    )
    if count := _rows(store, answered)[0]["n"]:
        errors.append(f"{count} rows: the learner has answered the question")
    exposed = (
        f"with served as ({SERVED}), learners as (select skill_key, count(*) as n from served group by skill_key) "
        f"select next.skill_key, question_key, count(*) as exposed, any_value(n) as n from {NEXT_QUESTIONS} as next "
        "left join learners on next.skill_key = learners.skill_key group by next.skill_key, question_key order by all"
    )
    rows = _rows(store, exposed)
    for row in rows:
        limit = exposure_limit(row["n"] or 0)
        if row["exposed"] > limit:
            errors.append(f"{row['question_key']}: for {row['exposed']} learners of {row['n']}, not at most {limit}")
    return _result(errors, questions=len(rows))


@dg.asset_check(asset=asset_key(NEXT_COURSES), blocking=True)
def skill_next_courses_are_not_taken_yet(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Ranks run from 1 without holes, nobody is sent to what they completed or take, none is left without a reason."""
    store = Warehouse(warehouse.settings)
    errors = _holes(store, NEXT_COURSES)
    # TAKEN asks for one skill; with all of them, a course completed for one is taken for the others too.
    taken = (
        f"with served as ({SERVED}), taken as ({TAKEN}) select count(*) as n from {NEXT_COURSES} as next "
        "semi join taken on next.learner_key = taken.learner and next.course_key = taken.course"
    )
    if count := _rows(store, taken)[0]["n"]:
        errors.append(f"{count} rows: the learner has completed the course, or is taking it")
    unsaid = f"select count(*) as n from {NEXT_COURSES} where (course_key is null) <> (reason is not null)"
    if count := _rows(store, unsaid)[0]["n"]:
        errors.append(f"{count} rows: a course and a reason against it, or neither")
    return _result(errors)


def _holes(store: Warehouse, table: str) -> list[str]:
    """Whose ranks do not run from 1 without holes."""
    query = (
        f"select count(*) as n from (select 1 from {table} group by skill_key, learner_key "
        "having min(rank) <> 1 or max(rank) <> count(*) or count(distinct rank) <> count(*))"
    )
    count = _rows(store, query)[0]["n"]
    return [f"{count} learners and skills: ranks do not run from 1 without holes"] if count else []


def _rows(store: Warehouse, query: str) -> list[dict]:
    return [row for batch in store.batches(query) for row in batch.to_pylist()]
