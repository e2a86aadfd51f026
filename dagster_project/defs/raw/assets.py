"""One asset per table of every contract: landing files in, typed Parquet and quarantine out."""

import dagster as dg

from dagster_project.defs.automation import EVENT_DAYS
from dagster_project.defs.resources import CONTRACTS, OWNERS, WRITER_POOL, Warehouse
from dagster_project.ingest.contract import Contract, Table
from dagster_project.ingest.loader import TableLoad, ensure_empty_files, load_table


def raw_asset(contract: Contract, table: Table) -> dg.AssetsDefinition:
    """The asset of one contract table: loads what is new for every source of the run.

    Event tables have daily partitions. A file is loaded whole, whatever range was asked for; the dates it touched are
    in the ledger, from which the activity table takes what it must rebuild.
    """
    key = dg.AssetKey([contract.schema, table.name])
    is_event_table = table.event_date is not None

    @dg.asset(
        key=key,
        description=table.description,
        group_name="raw",
        kinds={"duckdb", "parquet"},
        owners=OWNERS,
        pool=WRITER_POOL,
        partitions_def=EVENT_DAYS if is_event_table else None,
        backfill_policy=dg.BackfillPolicy.single_run() if is_event_table else None,
        metadata={"dagster/column_schema": _column_schema(table), "delivery": table.delivery},
        check_specs=[
            dg.AssetCheckSpec(
                f"{table.name}_refused_share_is_small",
                asset=key,
                blocking=True,
                description="Share of the rows in quarantine; `maximum_refused_share` of the settings",
            ),
            dg.AssetCheckSpec(
                f"{table.name}_files_were_readable",
                asset=key,
                blocking=True,
                description="No landing file was refused whole",
            ),
        ],
    )
    def load(context: dg.AssetExecutionContext, warehouse: Warehouse):
        with warehouse.writing(context) as settings:
            ensure_empty_files(contract, settings)
            loads = [
                load_table(contract, table.name, source.name, source.landing, settings, progress=context.log.info)
                for source in warehouse.sources(contract.name)
            ]
            totals = [warehouse.ledger.table_counts(contract.name, table.name, load.source) for load in loads]
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(total.accepted for total in totals),
                "refused rows": sum(total.refused for total in totals),
                "files": _file_table(loads),
            },
            check_results=[
                _refused_share(key, table, totals, settings.maximum_refused_share, settings),
                _readable_files(key, table, loads),
            ],
        )

    return load


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
            for column in table.columns
        ]
    )
