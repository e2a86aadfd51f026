"""The one place where DuckDB is opened: within the limits of the settings, and with nothing fetched from elsewhere."""

import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from dagster_project.base.errors import StoreError, WarehouseBusyError
from dagster_project.base.sql import identifier, literal
from dagster_project.settings import Settings


@contextmanager
def open_engine(settings: Settings, spill_folder: Path | None = None) -> Generator[duckdb.DuckDBPyConnection]:
    """An engine without a file of its own, within the memory and threads of the settings. Files are attached to it.

    Args:
        spill_folder: where it writes what does not fit into memory, for who must keep that apart; else
            `settings.temp_dir`.
    """
    spill_folder = spill_folder or settings.temp_dir
    spill_folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(
        config={
            "memory_limit": settings.memory_limit,
            "threads": settings.threads,
            "temp_directory": str(spill_folder),
            # What a query needs is in the engine itself. No name in a file or a path may fetch code, or run what lies
            # in the user's home.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    ) as connection:
        # Times with a zone are cast to plain ones on the way in: `_at` columns are UTC, whatever the machine's zone.
        connection.execute("set timezone = 'UTC'")
        # A long query would print into the output of whoever called.
        connection.execute("set enable_progress_bar = false")
        yield connection


def one_row(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence = ()) -> tuple:
    """The row of a query that has exactly one, such as a count."""
    (row,) = connection.execute(query, parameters).fetchall()
    return row


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    """All that is written in it stands, or nothing."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


@contextmanager
def open_database(
    settings: Settings, path: Path, alias: str = "warehouse", options: str = "read_only"
) -> Generator[duckdb.DuckDBPyConnection]:
    """An engine with one database file attached and in use, so that its tables need no alias in front.

    Raises: as `attach`.
    """
    with _idle_engine(settings) as connection:
        attach(connection, path, alias, options)
        connection.execute(f"use {identifier(alias)}")
        yield connection
        connection.execute("use memory")
        connection.execute(f"detach {identifier(alias)}")


_IDLE: list[tuple[tuple, ExitStack, duckdb.DuckDBPyConnection]] = []
"""At most one engine that nobody uses: to start one takes .03 CPU s, and a run opens a database 300 times."""


@contextmanager
def _idle_engine(settings: Settings) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection of its own to an engine that is kept for the next who asks, unless something was left in it."""
    asked = (settings.memory_limit, settings.threads, str(settings.temp_dir))
    try:
        kept, stack, engine = _IDLE.pop()
    except IndexError:
        kept, stack, engine = (), ExitStack(), None
    if engine is None or kept != asked or not settings.temp_dir.is_dir():
        stack.close()
        stack = ExitStack()
        engine = stack.enter_context(open_engine(settings))
    with ExitStack() as closing:
        closing.enter_context(stack)
        with engine.cursor() as connection:
            yield connection
        left = one_row(
            engine,
            "select (select count(*) from duckdb_databases() where not internal and database_name != 'memory') "
            "+ (select count(*) from duckdb_tables() where not temporary) "
            "+ (select count(*) from duckdb_temporary_files())",
        )
        if left == (0,) and not _IDLE:
            _IDLE.append((asked, stack, engine))
            closing.pop_all()


def _close_idle() -> None:
    while _IDLE:
        _IDLE.pop()[1].close()


os.register_at_fork(before=_close_idle)  # its threads would be missing in the other process


def attach(connection: duckdb.DuckDBPyConnection, path: Path, alias: str, options: str = "read_only") -> None:
    """Attach a database file.

    Raises:
        StoreError: there is no such file (when opened for reading), or it is not a database.
        WarehouseBusyError: another process, or another connection of this one, has it open.
    """
    if options == "read_only" and not path.exists():
        raise StoreError(
            f"There is no database at {path}: nothing has been built yet. Build it with `make run SOURCE=… LANDING=…`, "
            "or materialize everything in the Dagster UI"
        )
    try:
        connection.execute(f"attach {literal(path)} as {identifier(alias)} ({options})")
    except duckdb.ResourceInUseException as error:
        raise WarehouseBusyError(
            f"{path} is open in another connection of this process. Finish or close it first "
            f"(an iterator of batches() stays open until it is exhausted or closed). The engine says: {error}"
        ) from error
    except duckdb.IOException as error:
        if "Could not set lock" not in str(error):
            raise StoreError(f"{path} cannot be opened as a database. The engine says: {error}") from error
        raise WarehouseBusyError(
            f"{path} is open in another process. Only one may write, and none may read meanwhile: wait until it is "
            f"done, or close it. Read the published file instead, which is always free. The engine says: {error}"
        ) from error
