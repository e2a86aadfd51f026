"""What must hold before the driver effects are published."""

import dagster as dg

from dagster_project.analyses.drivers import SEEDS, TABLES
from dagster_project.defs.analytics import asset_key
from dagster_project.defs.resources import WarehouseResource
from dagster_project.stats.double_lasso.task import Requirements
from dagster_project.stats.driver_effects.analysis import eligibility_errors
from dagster_project.stats.driver_effects.falsification import PLACEBO_BOUNDS, placebo_errors
from dagster_project.store.warehouse import Warehouse

EFFECTS, PLACEBOS = asset_key(TABLES["effects"]), asset_key(TABLES["placebos"])


def _result(errors: list[str], **metadata) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=not errors, metadata={"found": dg.MetadataValue.json(errors), **metadata})


@dg.asset_check(asset=PLACEBOS, blocking=True)
def driver_placebos_are_rejected_as_often_as_chance_has_it(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Of drivers handed out at random, 1 to 10 % may be a finding at the 5 % level; else the errors are wrong."""
    placebos = Warehouse(warehouse.settings).read(TABLES["placebos"])
    errors = [f"{source}: {error}" for source, rows in placebos.groupby("source") for error in placebo_errors(rows)]
    return _result(errors, bounds=str(PLACEBO_BOUNDS))


@dg.asset_check(asset=EFFECTS, blocking=True)
def driver_effects_hold_nothing_that_follows_the_driver(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No eligible control is settled after its driver, and every pair of groups has a verdict."""
    store = Warehouse(warehouse.settings)
    return _result(eligibility_errors(**{name: store.read(table) for name, table in SEEDS.items()}))


@dg.asset_check(asset=EFFECTS, blocking=True)
def driver_effects_rest_on_enough_clusters(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every effect over all programs has its clusters counted, and more of them than columns that they decide."""
    effects = Warehouse(warehouse.settings).read(TABLES["effects"])
    rows = effects[effects["program_key"].isna() & (effects["status"] == "estimated")]
    few = rows[~(rows["cluster_count"] >= Requirements().clusters) | ~(rows["degrees_of_freedom"] >= 2)]
    named = few.apply(lambda row: f"{row['source']}, {row['driver_id']}: {row['cluster_count']} clusters", axis=1)
    return _result(list(named) if len(few) else [], least=int(rows["cluster_count"].min()) if len(rows) else 0)


@dg.asset_check(asset=EFFECTS, blocking=True)
def driver_effects_cover_the_catalogue(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every driver of the catalogue has a row for every source, with a figure or with the reason why there is none."""
    store = Warehouse(warehouse.settings)
    effects, catalogue = store.read(TABLES["effects"]), store.read(SEEDS["catalogue"], ["driver_id"])
    overall = effects[effects["program_key"].isna()]
    errors = []
    for source in store.read("core.dim_source", ["source"])["source"]:
        rows = overall[overall["source"] == source]
        missing = set(catalogue["driver_id"]) - set(rows["driver_id"])
        errors += [f"{source}: {driver} has no row" for driver in sorted(missing)]
        silent = rows[(rows["status"] != "estimated") & rows["reason"].isna()]
        errors += [f"{source}: {driver} has neither figure nor reason" for driver in silent["driver_id"]]
        empty = rows[
            (rows["status"] == "estimated") & rows[["percent", "percent_low", "percent_high"]].isna().any(axis=1)
        ]
        errors += [f"{source}: {driver} has no interval" for driver in empty["driver_id"]]
    return _result(errors)
