"""What must hold before severities and adjusted grades are published."""

import dagster as dg

from dagster_project.analyses.grading import ADJUSTED, SEVERITIES
from dagster_project.defs.analytics import asset_key
from dagster_project.defs.resources import WarehouseResource
from dagster_project.store.warehouse import Warehouse


def _result(counts: dict[str, int]) -> dg.AssetCheckResult:
    found = [f"{count} rows {what}" for what, count in counts.items() if count]
    return dg.AssetCheckResult(passed=not found, metadata={"found": dg.MetadataValue.json(found)})


@dg.asset_check(asset=asset_key(SEVERITIES), blocking=True)
def grader_severities_are_withheld_without_a_link(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """A figure rests on marks of items that both marked; without one there is a reason and no figure."""
    least = warehouse.settings.minimum_group_size
    query = (
        f"select count(*) filter (is_shown and half_year_on is null and linked_mark_count < {least} "
        # The kind that the others are compared with is 0 by definition.
        "and not (graded_by = compared_with and grader_key is null)) as unlinked, "
        "count(*) filter (is_shown and severity_points is null) as empty, "
        "count(*) filter (not is_shown and (withheld_reason is null or severity_points is not null "
        f"or severity_logits is not null or drift_points is not null)) as leaked from {SEVERITIES}"
    )
    counts = next(Warehouse(warehouse.settings).batches(query)).to_pylist()[0]
    return _result(
        {
            "with a figure and too few linked marks": counts["unlinked"],
            "shown, without a figure": counts["empty"],
            "withheld, with a figure or without a reason": counts["leaked"],
        }
    )


@dg.asset_check(asset=asset_key(ADJUSTED), blocking=True)
def adjusted_grades_follow_shown_severities(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No grade is adjusted in a source that shows no severity but the one compared with."""
    query = (
        f"select count(*) as lost from {ADJUSTED} where source not in "
        f"(select source from {SEVERITIES} where is_shown and graded_by <> compared_with)"
    )
    counts = next(Warehouse(warehouse.settings).batches(query)).to_pylist()[0]
    return _result({"of sources that show no severity": counts["lost"]})
