"""What the assets work with: the warehouse with its write lock, and dbt."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtCliRuntimeError, DbtCliResource, DbtProject
from pydantic import Field, PrivateAttr

from dagster_project.ingest.contract import Contract, read_contracts
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.sources import Source, find_source, registered_sources
from dagster_project.settings import PREFIX, REPOSITORY, Settings
from dagster_project.store.locks import LockTimeout, WriteLock

OWNERS = ["team:data-engineering"]
WRITER_POOL = "warehouse_writer"
RETRIES = 2
RETRY_WAIT_SECONDS = 30

dbt_project = DbtProject(project_dir=REPOSITORY / "dbt", profiles_dir=REPOSITORY / "dbt")
CONTRACTS: dict[str, Contract] = read_contracts(REPOSITORY / "dbt" / "models" / "staging")


class Warehouse(dg.ConfigurableResource):
    """The warehouse as one run sees it: settings, sources, ledger, and the right to write.

    The lock is taken at the first step that writes and held until the run ends, so that what was loaded is what gets
    published, whoever else waits.
    """

    source: str = Field("", description="Work on this registered source only; empty: on all of them")

    _lock: WriteLock | None = PrivateAttr(None)
    _run_id: str = PrivateAttr("")

    @cached_property
    def settings(self) -> Settings:
        return Settings()

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.settings)

    @property
    def run_id(self) -> str:
        return self._run_id

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._run_id = context.run.run_id if context.run else ""

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        if self._lock:
            self._lock.release()

    def sources(self, contract: str | None = None) -> list[Source]:
        """The sources that this run works on, of one contract if given."""
        if not self.source:
            return registered_sources(self.settings, contract)
        source = find_source(self.settings, self.source)
        return [source] if contract in (None, source.contract) else []

    @contextmanager
    def writing(self, context: dg.AssetExecutionContext) -> Iterator[Settings]:
        """Settings to write with. Tries again what another process or a disk may have caused, and nothing else.

        Raises:
            dagster.RetryRequested: another process held a file, or the disk failed.
            dagster.Failure: anything that will fail again.
        """
        try:
            if self._lock is None:
                lock = WriteLock(self.settings, holder=f"run {self._run_id}")
                lock.acquire(progress=context.log.info)
                self._lock = lock
            yield self.settings
        except (dg.Failure, dg.RetryRequested):
            raise
        except DagsterDbtCliRuntimeError as error:
            if "IO Error" in str(error):
                raise dg.RetryRequested(RETRIES, RETRY_WAIT_SECONDS) from error
            raise dg.Failure(str(error), allow_retries=False) from error
        except (LockTimeout, duckdb.IOException, OSError) as error:
            raise dg.RetryRequested(RETRIES, RETRY_WAIT_SECONDS) from error
        except Exception as error:
            raise dg.Failure(str(error), metadata={"kind": type(error).__name__}, allow_retries=False) from error


class Dbt(DbtCliResource):
    """dbt on this warehouse: it finds the same folder and limits as Python does."""

    def cli(self, *args: Any, **kwargs: Any):
        settings = Settings()
        settings.temp_dir.mkdir(parents=True, exist_ok=True)
        os.environ[f"{PREFIX}HOME"] = str(settings.home)
        os.environ[f"{PREFIX}MEMORY_LIMIT"] = settings.memory_limit
        os.environ[f"{PREFIX}THREADS"] = str(settings.threads)
        return super().cli(*args, **kwargs)
