"""Write-audit-publish: after every blocking check has passed, the public schemas and the pages become a snapshot."""

from collections.abc import Iterator
from datetime import date, timedelta
from importlib.metadata import version

import dagster as dg

from dagster_project.base.errors import PublishedIdentifierError
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs import planning
from dagster_project.defs.manifest import NODES, is_published, parts_by, tables_of_keys
from dagster_project.defs.ops.assets import KEYS as OPS
from dagster_project.defs.pages.assets import page_key
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.defs.transform.assets import ANALYTICS, PUBLIC_MODELS
from dagster_project.defs.versions import name_of
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.source_state import source_states
from dagster_project.ingest.sources import Source, registered_sources
from dagster_project.privacy.erasure.stages import erased_learners, finish
from dagster_project.privacy.identifier_search import identity_files
from dagster_project.report.call_lists import keep_word_of_changes
from dagster_project.report.data_docs import write_snapshot
from dagster_project.report.pages import find_pages
from dagster_project.store import accepted
from dagster_project.store import versions as data_versions
from dagster_project.store.meta import SourceInfo
from dagster_project.store.publish import make_snapshot_id, publish
from dagster_project.store.warehouse import Warehouse

NO_IDENTIFIER = "no_direct_identifier_is_published"
STALE_AFTER = timedelta(hours=30)
PUBLIC_ANALYTICS = [dg.AssetKey(name.split(".")) for name, contract in ANALYTICS.items() if contract.is_published]


@dg.asset(
    key=["published", "learning_warehouse"],
    deps=[*PUBLIC_MODELS, *PUBLIC_ANALYTICS, *OPS, *(page_key(page) for page in find_pages())],
    group_name="published",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    pool=WRITER_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            NO_IDENTIFIER,
            asset=["published", "learning_warehouse"],
            blocking=True,
            description="No column of the snapshot bears the name of a direct identifier, and no text column holds a "
            "name, an e-mail address or another one of the identity store. Searched before the snapshot is shown: "
            "where one is found, nothing is published; the check tells in how many values of which column, never what. "
            "`make search-identifiers` searches all else that runs write.",
        )
    ],
    output_required=False,  # where the check fails there is no new snapshot
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=STALE_AFTER),
    description="The read-only copy that BI tools open: one DuckDB file, Parquet beside it, swapped in at once.",
)
def learning_warehouse(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    with warehouse.writing(context) as settings:
        snapshot_id = make_snapshot_id(warehouse.run_id[:8])
        state = planning.state_after(context, settings, warehouse.sources(), snapshot_id)
        built = data_versions.read(settings)
        ends = {source.name: source.last_data_on for source in source_states(CONTRACTS, settings)}
        try:
            publication = publish(
                settings,
                snapshot_id,
                sources_info=[
                    _describe(source, warehouse.ledger, ends.get(source.name))
                    for source in registered_sources(settings)
                ],
                versions={"dagster": version("dagster"), "dbt": version("dbt-core")},
                erased=erased_learners(settings),
                identities=identity_files(CONTRACTS.values(), settings),
                data_versions={name: x.version for name, x in built.items()},
                computed={name: (x.built_at, state.since.get(name, snapshot_id)) for name, x in built.items()},
                tables_of_keys=tables_of_keys(),
                parts_by=parts_by(),
                unpublished=[name for name in NODES if not is_published(name)],
                made={name_of(key) for key in context.job_def.asset_layer.selected_asset_keys},
                beside={accepted.FILE: state.as_text()},
                on_progress=context.log.info,
            )
        except PublishedIdentifierError as error:
            yield _identifiers_found(error)
            return
        write_snapshot(settings, publication.snapshot_id)
        for receipt in finish(settings, publication.snapshot_id):
            context.log.info(f"A learner is erased. Receipt: {receipt}")
        keep_word_of_changes(Warehouse(settings), settings)
        planning.report_kept(context, settings)
    yield dg.MaterializeResult(
        metadata={
            "snapshot": publication.snapshot_id,
            "database": dg.MetadataValue.path(str(publication.database)),
            "dagster/row_count": publication.row_count,
            "tables": dg.MetadataValue.json(dict(publication.tables)),
        },
        data_version=dg.DataVersion(publication.snapshot_id),
    )
    yield dg.AssetCheckResult(
        check_name=NO_IDENTIFIER,
        passed=True,
        metadata={
            "identifiers": publication.searched.identifiers,
            "text columns": publication.searched.columns,
            "text columns that an earlier publication searched": publication.searched.earlier,
        },
    )


def _identifiers_found(error: PublishedIdentifierError) -> dg.AssetCheckResult:
    """The failed check, which fails the step: which columns, in how many values, and none of the values."""
    records = []
    for place, count in error.columns.items():
        table, _, column = place.rpartition(".")
        records.append(
            dg.TableRecord({"table": table, "column": column, "values": "its name" if count is None else f"{count:,}"})
        )
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in ("table", "column", "values")])
    return dg.AssetCheckResult(
        check_name=NO_IDENTIFIER,
        passed=False,
        description=str(error),
        metadata={"columns with identifiers": dg.TableMetadataValue(records, schema)},
    )


def _describe(source: Source, ledger: Ledger, last_data_on: date | None) -> SourceInfo:
    loaded = [file for file in ledger.files(source.contract, source=source.name) if file.status == "loaded"]
    return SourceInfo(
        source=source.name,
        contract=source.contract,
        first_event_on=min((file.first_date for file in loaded if file.first_date), default=None),
        last_event_on=last_data_on,
        file_count=len(loaded),
        row_count=sum(file.accepted for file in loaded),
        refused_count=sum(file.refused for file in loaded),
    )
