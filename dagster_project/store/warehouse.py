"""The warehouse as Python sees it: read tables, stream them in batches, write what Python computes."""

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb

from dagster_project.base.engine import one_row, open_database, transaction
from dagster_project.base.errors import StoreError, WarehouseBusyError
from dagster_project.base.files import INCOMING, replaced
from dagster_project.base.locks import POLL_SECONDS
from dagster_project.base.sql import identifier, literal, qualified, write_comments
from dagster_project.contracts.tables import TableContract
from dagster_project.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Rows: TypeAlias = pd.DataFrame | pa.Table | pa.RecordBatchReader | str

BATCH_ROWS = 100_000
_CATALOG = "warehouse"
_TABLE_NAME = re.compile(r"\w+\.\w+")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Warehouse:
    """The build database, opened for each call and closed after it, so that dbt finds it free.

    Writers hold a `WriteLock`. Timestamps are UTC without a zone, in and out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def held_open(self) -> Generator[None]:
        """Open the build database once for all that is read meanwhile, from any thread; nothing can be written then."""
        with self._open() as connection:
            self._held = connection
            try:
                yield
            finally:
                self._held = None

    def read(
        self, table: str, columns: Sequence[str] | None = None, where: str | None = None, parameters: Sequence = ()
    ) -> "pd.DataFrame":
        """A table, or some of its columns and rows, in memory.

        Args:
            table: "schema.table".
            columns: all when not given.
            where: SQL condition; values go as `?` and come from `parameters`.

        Raises:
            StoreError: no such table or column; says which there are and what to run.
            WarehouseBusyError: somebody has the build database open for writing.
        """
        with self._open() as connection:
            query = _select(connection, table, columns)
            if where is not None:
                query += f" where {where}"
            return self._run(connection, query, parameters).df()

    def batches(
        self, table_or_sql: str, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator["pa.RecordBatch"]:
        """Rows as Arrow record batches of at most `batch_rows`, in bounded memory.

        The build database stays open until the iterator is exhausted or closed: write after that.

        Args:
            table_or_sql: "schema.table", or a query.
            columns: all when not given; of a query, select them there.
        """
        with self._open() as connection:
            query = table_or_sql
            if _TABLE_NAME.fullmatch(table_or_sql):
                query = _select(connection, table_or_sql, columns)
            yield from self._run(connection, query).to_arrow_reader(batch_rows)

    @contextmanager
    def reading(self, table: str) -> Generator[tuple[duckdb.DuckDBPyConnection, str, dict[str, str]]]:
        """A table for several queries: a connection, the table's name as SQL, and its columns with their types.

        Raises:
            StoreError: no such table.
        """
        with self._open() as connection:
            yield connection, qualified(table, _CATALOG), _check_exists(connection, table)

    def row_count(self, table: str) -> int:
        """Rows of a table.

        Raises:
            StoreError: no such table.
        """
        with self._open() as connection:
            _check_exists(connection, table)
            return _count(connection, table)

    def row_counts(self, tables: Sequence[str]) -> dict[str, int]:
        """Rows of several tables ("schema.table"), those that do not exist left out."""
        with self._open() as connection:
            there = _columns(connection)
            return {
                table: one_row(connection, f"select count(*) from {qualified(table, _CATALOG)}")[0]
                for table in tables
                if table in there
            }

    def types(self, table: str) -> dict[str, str]:
        """Type by column of a table ("schema.table"); none where there is no such table or build database."""
        if not self._settings.build_database.exists():
            return {}
        with self._open() as connection:
            return _types(connection, table)

    def columns(self) -> dict[str, dict[str, tuple[str, str | None]]]:
        """Type and comment by column, by "schema.table", of every table and view."""
        with self._open() as connection:
            return _columns(connection)

    def write(self, table: str, rows: "Rows", contract: TableContract) -> int:
        """Replace a table, in one transaction: a reader sees the old rows or the new ones.

        Args:
            table: "schema.table", the one of the contract.
            rows: a frame, an Arrow table, a stream of record batches, or a query of the build database, with exactly
                the columns of the contract.

        Returns:
            Rows written.

        Raises:
            StoreError: columns, types or required values differ from the contract; the table stays as it was.
        """
        _check_contract(table, contract, append_only=False)
        with self._open(for_writing=True) as connection:
            _register(connection, table, rows, contract)
            with transaction(connection):
                _create(connection, contract, "incoming")
                return _check_required(connection, contract, qualified(table, _CATALOG))

    def append(self, table: str, rows: "Rows", contract: TableContract, run_id: str) -> int:
        """Add the rows of a run (or of a day) to an append-only table; the same run again replaces its own rows.

        Each run's rows are one immutable Parquet file under the artifacts. The table is made from those files, so it
        survives the deletion of the build database; a column that the contract gained is null in older rows.

        Returns:
            Rows of this run.

        Raises:
            StoreError: as `write`; or a run id that cannot be a file's name.
        """
        return self.append_all(table, {run_id: rows}, contract)[run_id]

    def append_all(self, table: str, rows: "Mapping[str, Rows]", contract: TableContract) -> dict[str, int]:
        """The same for several runs (or days) at once; rows of each."""
        _check_contract(table, contract, append_only=True)
        for run_id in rows:
            if not _RUN_ID.fullmatch(run_id):
                raise StoreError(f"Run id {run_id!r} names a file of {table}: letters, digits, '.', '_' and '-' only")
        folder = self._append_only_folder(table)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{INCOMING}"):  # of a run that was killed here
            leftover.unlink()
        counts = {}
        with self._open(for_writing=True) as connection:
            for run_id, of_run in rows.items():
                _register(connection, table, of_run, contract)
                with replaced(folder / f"{run_id}.parquet", synced=True) as incoming:
                    with _explain(contract):
                        connection.execute(
                            f"copy (select {_cast(contract)} from incoming) to {literal(incoming)} (format parquet)"
                        )
                    counts[run_id] = _check_required(connection, contract, f"read_parquet({literal(incoming)})")
            self._restore(connection, contract)
        return counts

    def appended(self, contract: TableContract) -> list[str]:
        """The runs (or days) that an append-only table has rows of, whether or not there is a build database."""
        return sorted(file.stem for file in self._append_only_folder(contract.table).glob("*.parquet"))

    def withdraw(self, contract: TableContract, runs: Iterable[str]) -> None:
        """Remove the rows of runs (or days) from an append-only table for good."""
        for run_id in runs:
            (self._append_only_folder(contract.table) / f"{run_id}.parquet").unlink(missing_ok=True)
        with self._open(for_writing=True) as connection:
            self._restore(connection, contract)

    def set_aside(self, contract: TableContract, written_after: float) -> list[str]:
        """Take the rows of the runs (or days) that were written after a time out of an append-only table.

        For rows that a check refused: their files stay, in the folder `<table>.refused` beside the table's own.

        Args:
            written_after: seconds since 1970.

        Returns:
            The runs (or days).
        """
        folder = self._append_only_folder(contract.table)
        files = [file for file in sorted(folder.glob("*.parquet")) if file.stat().st_mtime > written_after]
        if files:
            refused = folder.with_name(f"{folder.name}.refused")
            refused.mkdir(exist_ok=True)
            for file in files:
                file.replace(refused / file.name)
            with self._open(for_writing=True) as connection:
                self._restore(connection, contract)
        return [file.stem for file in files]

    def restore(self, contracts: Sequence[TableContract]) -> dict[str, int]:
        """Make the append-only tables of these contracts again from their files, and the others, where absent, empty.

        Run before the models that read them: in a new build database, or before the first run of what writes them,
        they would not exist.

        Returns:
            Rows by table that was made.
        """
        with self._open(for_writing=True) as connection:
            there = _columns(connection)
            return {
                contract.table: self._restore(connection, contract)
                for contract in contracts
                if contract.append_only or contract.table not in there
            }

    def _restore(self, connection: duckdb.DuckDBPyConnection, contract: TableContract) -> int:
        """Make a table from its files; only an append-only one has any."""
        files = sorted(str(path) for path in self._append_only_folder(contract.table).glob("*.parquet"))
        # The typed row of nothing gives the contract's columns that no file has; the cast brings older types along.
        typed = ", ".join(f"null::{column.data_type} as {identifier(column.name)}" for column in contract.columns)
        rows = f"select {typed} where false"
        if files:
            rows += f" union all by name from read_parquet([{', '.join(map(literal, files))}], union_by_name = true)"
        with transaction(connection):
            return _create(connection, contract, f"({rows})")

    def _append_only_folder(self, table: str) -> Path:
        return self._settings.artifacts_dir / "append_only" / table

    def wait_until_free(self, on_wait: Callable[[str], None] = lambda message: None) -> None:
        """Wait until no other process has the build database open, for at most `lock_timeout_seconds`.

        Whoever holds the `WriteLock` may still find it open: by the dbt of a run that was killed, or by a person.

        Args:
            on_wait: called with a sentence when the wait begins.

        Raises:
            WarehouseBusyError: it is still open; says by which process.
        """
        if not self._settings.build_database.exists():
            return
        started, is_told = time.monotonic(), False
        while True:
            try:
                with self._open(for_writing=True):
                    return
            except WarehouseBusyError as error:
                if not is_told:
                    on_wait(f"Waiting for at most {self._settings.lock_timeout_seconds:.0f} s: {error}")
                    is_told = True
                if time.monotonic() - started >= self._settings.lock_timeout_seconds:
                    raise
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _open(self, for_writing: bool = False) -> Generator[duckdb.DuckDBPyConnection]:
        if self._held is not None and not for_writing:
            with self._held.cursor() as connection:
                connection.execute(f"use {_CATALOG}")
                yield connection
            return
        path = self._settings.build_database
        path.parent.mkdir(parents=True, exist_ok=True)
        options = "read_write" if for_writing else "read_only"
        with open_database(self._settings, path, _CATALOG, options) as connection:
            yield connection

    @staticmethod
    def _run(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence = ()) -> duckdb.DuckDBPyRelation:
        try:
            # Not execute(): its result is complete in memory before the first batch.
            return connection.sql(query, params=list(parameters) or None)
        except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
            raise StoreError(f"The warehouse cannot answer this query: {query}\nThe engine says: {error}") from error


def _select(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str] | None) -> str:
    found = _check_exists(connection, table)
    missing = [column for column in columns or () if column.lower() not in {name.lower() for name in found}]
    if missing:
        raise StoreError(f"Table {table} has no column {', '.join(missing)}. It has: {', '.join(found)}")
    return f"select {', '.join(map(identifier, columns)) if columns else '*'} from {qualified(table, _CATALOG)}"


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, tuple[str, str | None]]]:
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type, comment from duckdb_columns() "
        "where database_name = ? and not internal order by schema_name, table_name, column_index",
        [_CATALOG],
    ).fetchall()
    tables: dict[str, dict[str, tuple[str, str | None]]] = {}
    for table, column, data_type, comment in rows:
        tables.setdefault(table, {})[column] = (data_type, comment)
    return tables


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    try:
        rows = connection.execute(f"describe {qualified(table, _CATALOG)}").fetchall()
    except duckdb.CatalogException:
        return {}
    return {column: data_type for column, data_type, *_ in rows}


def _check_exists(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Type by column of a table.

    Raises:
        StoreError: it is not there.
    """
    if types := _types(connection, table):
        return types
    found = _columns(connection)
    schema, name = table.split(".")
    tables = [there.partition(".")[2] for there in found if there.startswith(f"{schema}.")]
    there = f"schema {schema} has: {', '.join(tables)}" if tables else f"{schema} has no tables"
    raise StoreError(
        f"Table {table} is not in the build database; {there}. If the name is right, it has not been built yet: "
        f"materialize asset {schema}/{name} in the Dagster UI, or run `make run SOURCE=… LANDING=…`"
    )


def _check_contract(table: str, contract: TableContract, append_only: bool) -> None:
    if contract.table != table:
        raise StoreError(f"Rows for {table} came with the contract of {contract.table}")
    if contract.append_only != append_only:
        kind, method = ("append-only", "append") if contract.append_only else ("replaced as a whole", "write")
        raise StoreError(f"The contract of {table} says that it is {kind}: use {method}()")


def _register(connection: duckdb.DuckDBPyConnection, table: str, rows: "Rows", contract: TableContract) -> None:
    """Make the rows readable as `incoming`, after a look at their columns."""
    if isinstance(rows, str):
        connection.execute(f"create or replace temporary view incoming as {rows}")
    else:
        connection.register("incoming", rows)
    found = [name for name, *_ in connection.execute("describe incoming").fetchall()]
    expected = [column.name for column in contract.columns]
    missing, unknown = [x for x in expected if x not in found], [x for x in found if x not in expected]
    if missing or unknown:
        raise StoreError(
            f"Rows for {table} do not fit its contract."
            + (f" Missing: {', '.join(missing)}." if missing else "")
            + (f" Not in the contract: {', '.join(unknown)}." if unknown else "")
            + " Give exactly the contract's columns (null where nothing is known), or change the contract"
        )


def _cast(contract: TableContract) -> str:
    return ", ".join(
        f"cast({identifier(column.name)} as {column.data_type}) as {identifier(column.name)}"
        for column in contract.columns
    )


def _create(connection: duckdb.DuckDBPyConnection, contract: TableContract, rows: str) -> int:
    """Replace the contract's table by rows (SQL after `from`); returns how many. Within a transaction."""
    table = qualified(contract.table, _CATALOG)
    with _explain(contract):
        connection.execute(f"create schema if not exists {table.rsplit('.', 1)[0]}")
        connection.execute(f"create or replace table {table} as select {_cast(contract)} from {rows}")
    write_comments(connection, table, contract.description, ((x.name, x.description) for x in contract.columns))
    return _count(connection, contract.table)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return one_row(connection, f"select count(*) from {qualified(table, _CATALOG)}")[0]


def _check_required(connection: duckdb.DuckDBPyConnection, contract: TableContract, rows: str) -> int:
    """Count the rows (SQL after `from`), refusing nulls in required columns."""
    required = [column.name for column in contract.columns if column.required]
    counts = "".join(f", count(*) filter ({identifier(name)} is null)" for name in required)
    count, *nulls = one_row(connection, f"select count(*){counts} from {rows}")
    broken = [f"{name} ({n} rows)" for name, n in zip(required, nulls, strict=True) if n]
    if broken:
        raise StoreError(
            f"Rows for {contract.table}: null in required columns: {', '.join(broken)}, of {count} rows. "
            "Nothing was written: fill them, or take `required` out of the contract"
        )
    return count


@contextmanager
def _explain(contract: TableContract) -> Generator[None]:
    """Errors of the engine about the rows, as errors about the contract."""
    try:
        yield
    except (duckdb.ConversionException, duckdb.BinderException, duckdb.OutOfRangeException) as error:
        types = ", ".join(f"{column.name} {column.data_type}" for column in contract.columns)
        raise StoreError(
            f"Rows for {contract.table} cannot be cast to the types of its contract ({types}). "
            f"The table stays as it was. The engine says: {error}"
        ) from error
