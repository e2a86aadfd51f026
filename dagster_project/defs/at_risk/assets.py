"""Scores of who is likely to fail or leave: models trained when a cohort matures, scores every day."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.analyses.at_risk.scoring import SCORING_TABLES, score_active
from dagster_project.analyses.at_risk.training import READS, TRAINING_TABLES, train_where_due
from dagster_project.base import clock
from dagster_project.defs.analytics import analytics_spec, asset_key
from dagster_project.defs.at_risk import checks
from dagster_project.defs.making import making
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.store.warehouse import Warehouse


@dg.multi_asset(
    specs=[analytics_spec(f"analytics.at_risk_{table}", READS) for table in TRAINING_TABLES],
    check_specs=checks.TRAINING_CHECKS,
    pool=WRITER_POOL,
)
def at_risk_training(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator:
    """Train when a cohort has matured, the champion is a week old or a suite refused the last training.

    Else everything stays as it is.
    """
    with making(context, warehouse) as (settings, data_versions):
        now = clock.now_as_stored()
        trained = train_where_due(Warehouse(settings), settings, now, context.run_id)
    for table, count in trained.counts.items():
        key = asset_key(f"analytics.at_risk_{table}")
        metadata = {"dagster/row_count": count, "decisions": dg.MetadataValue.json(trained.decisions)}
        yield dg.MaterializeResult(key, metadata=metadata, data_version=data_versions[key])
    yield from checks.of_training(trained.judgements, trained.without_champion)


@dg.multi_asset(
    specs=[analytics_spec(f"analytics.at_risk_{table}", ["analytics.at_risk_models"]) for table in SCORING_TABLES],
    check_specs=checks.SCORING_CHECKS,
    pool=WRITER_POOL,
)
def at_risk_scoring(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator:
    """One pass over the active learners."""
    with making(context, warehouse) as (settings, data_versions):
        scored = score_active(Warehouse(settings), settings, clock.now_as_stored())
    for table, count in scored.counts.items():
        key = asset_key(f"analytics.at_risk_{table}")
        metadata = {"dagster/row_count": count, "scored": dg.MetadataValue.json(scored.told)}
        yield dg.MaterializeResult(key, metadata=metadata, data_version=data_versions[key])
    yield checks.every_learner_once(scored.expected, scored.frames["scores"])
    yield checks.adds_up(scored.gaps)
    yield checks.has_not_drifted(scored.frames["drift"], scored.trained)
