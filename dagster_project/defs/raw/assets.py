"""One asset per table of every contract: landing files in, typed Parquet and quarantine out."""

import dagster as dg

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.contracts.source import Contract, Table
from dagster_project.defs.instance.progress import say
from dagster_project.defs.partitions import EVENT_MONTHS
from dagster_project.defs.raw import checks
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.ingest.changes import table_state
from dagster_project.ingest.erasure import unload
from dagster_project.ingest.loader import TableLoad, ensure_empty_files, load_table
from dagster_project.ingest.quarantine import rows_folder
from dagster_project.ingest.retention import check_periods

FILE_COLUMNS = {
    "source": "string",
    "file": "string",
    "status": "string",
    "rows": "int",
    "refused": "int",
    "note": "string",
}


def raw_asset(contract: Contract, table: Table) -> dg.AssetsDefinition:
    """The asset of one contract table: loads what is new for every source of the run.

    Event tables have monthly partitions. A file is loaded whole, whatever range was asked for; the dates it touched
    are in the ledger, from which the daily summary takes what it must rebuild.
    """
    key = dg.AssetKey([contract.schema, table.name])

    @dg.asset(
        key=key,
        description=table.description,
        group_name="raw",
        kinds={"duckdb", "parquet"},
        owners=OWNERS,
        pool=WRITER_POOL,
        partitions_def=EVENT_MONTHS if table.is_event else None,
        backfill_policy=dg.BackfillPolicy.single_run() if table.is_event else None,
        metadata={"dagster/column_schema": _column_schema(table), "delivery": table.delivery},
        check_specs=checks.specs(contract, table),
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
        with warehouse.writing(context) as settings:
            check_periods(CONTRACTS.values(), settings)
            ensure_empty_files(contract, settings)
            loads = []
            for source in warehouse.sources(contract.name):
                unload(contract, source.name, settings, say)
                loads.append(load_table(contract, table.name, source.name, source.landing, settings, progress=say))
            counts = [warehouse.ledger.table_counts(contract.name, table.name, load.source) for load in loads]
            results = checks.of_table(contract, table, loads, warehouse.sources(contract.name), settings)
            state = table_state(contract, table, settings)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(count.accepted for count in counts),
                "refused rows": sum(count.refused for count in counts),
                "rows past their retention": sum(
                    sum(warehouse.ledger.expired_rows(contract.name, table.name, load.source).values())
                    for load in loads
                ),
                "quarantine": dg.MetadataValue.path(str(rows_folder(contract, table, "", settings).parent)),
                "files": _file_table(loads),
            },
            check_results=results,
            data_version=dg.DataVersion(state),
        )

    return load


def _file_table(loads: list[TableLoad]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "source": load.source,
                    "file": file.name,
                    "status": file.status,
                    "rows": file.accepted,
                    "refused": file.refused,
                    "note": file.reason or "; ".join(file.warnings),
                }
            )
            for load in loads
            for file in load.files
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in FILE_COLUMNS.items()]),
    )


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.data_type,
                column.description,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
                tags={"pii": column.pii} if column.pii else {},
            )
            for column in table.raw_columns
        ]
    )


@dg.definitions
def raw_tables() -> dg.Definitions:
    return dg.Definitions(
        assets=[raw_asset(contract, table) for contract in CONTRACTS.values() for table in contract.tables]
    )
