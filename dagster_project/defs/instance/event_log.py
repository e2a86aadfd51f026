"""Dagster's event log in SQLite, with a connection that stays open.

Dagster's own storage makes an engine and a connection for every event and every look at one: each of a run's 2,800
events costs 20 ms of CPU, and waits for the disk. With one connection a file it is 6 ms. Events that come together,
such as those of all months of a table, are written together. The files are the same.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import EventLogEntry, Field, StringSource
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

KEPT = 8
"""Files with an open connection: the index, and the runs that were asked for last."""


class EventLog(SqliteEventLogStorage):
    """Named in `dagster.yaml`; `base_dir` is where Dagster's own storage keeps its files unless told otherwise."""

    def __init__(self, base_dir: str, inst_data=None) -> None:
        self._engines: OrderedDict[str, sqlalchemy.Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._columns: set[str] = set()
        self._held: dict[str, sqlalchemy.Connection] = {}
        super().__init__(base_dir, inst_data)
        self._db_lock = threading.RLock()

    @classmethod
    def config_type(cls) -> dict:
        """What `dagster.yaml` may say: the folder."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data, config_value: Mapping[str, Any]) -> "EventLog":
        """The storage that `dagster.yaml` names; without a folder Dagster's own under DAGSTER_HOME."""
        base_dir = config_value.get("base_dir") or str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs")
        return cls(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Generator[sqlalchemy.Connection]:
        if shard not in self._initialized_dbs:
            with super()._connect(shard):  # makes the tables
                pass
        has_written = False
        with self._db_lock:
            if shard in self._held:  # of a batch, which ends the transaction
                yield self._held[shard]
                return
            try:
                with self._engine(shard).connect() as connection, connection.begin():
                    before = _rows_written(connection)
                    yield connection
                    has_written = _rows_written(connection) > before
            except BaseException:  # a full disk, say: the next one begins anew
                self._close(shard)
                raise
        if has_written and shard != INDEX_SHARD_NAME:
            # The UI looks at a run when this file is modified; what an open connection writes is in another one. A look
            # must leave it alone, or it brings about the next look.
            os.utime(self.path_for_shard(shard))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Events in one transaction of each file that they go to."""
        shards = dict.fromkeys([INDEX_SHARD_NAME, *(event.run_id for event in events)])
        with self._db_lock, ExitStack() as stack:
            for shard in shards:
                connection = stack.enter_context(self._connect(shard))
                self._held[shard] = connection
                stack.callback(self._held.pop, shard)
            super().store_event_batch(events)

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        """The engine of a file: one connection, which `_db_lock` guards against several threads."""
        if shard not in self._engines:
            engine = self._engines[shard] = sqlalchemy.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            # Not every commit waits for the disk: a power failure may cost the last events, and breaks nothing.
            event.listen(engine, "connect", lambda found, _: found.execute("pragma synchronous = normal"))
        self._engines.move_to_end(shard)
        for oldest in [name for name in self._engines if name != INDEX_SHARD_NAME][: -KEPT + 1]:
            self._close(oldest)
        return self._engines[shard]

    def _close(self, shard: str) -> None:
        if engine := self._engines.pop(shard, None):
            engine.dispose()

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that is there stays there, and Dagster asks with every check."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_col_on_connection(self, conn: sqlalchemy.Connection, column_name: str) -> bool:
        """Whether the index of assets has a column, of which the same is true; Dagster asks with every event."""
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

    def wipe(self) -> None:
        """Delete all events, with no connection left that would still hold a deleted file."""
        self._close_all()
        super().wipe()

    def dispose(self) -> None:
        """Close every connection."""
        self._close_all()
        super().dispose()

    def _close_all(self) -> None:
        with self._db_lock:
            for shard in list(self._engines):
                self._close(shard)


def _rows_written(connection: sqlalchemy.Connection) -> int:
    """Rows that this connection has inserted, updated or deleted since it was opened."""
    driver = connection.connection.driver_connection
    assert driver is not None, "a connection in use has not been closed"
    return driver.total_changes
