"""What the assets work with: the warehouse with its write lock, and dbt's manifest."""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import dagster as dg
import duckdb
from dagster_dbt import DbtProject
from pydantic import Field, PrivateAttr

from dagster_project.base.errors import DbtError, WarehouseBusyError, WarehouseError
from dagster_project.base.files import empty_folder
from dagster_project.base.locks import WriteLock, release_run
from dagster_project.base.memory import memory_watch
from dagster_project.defs.partitions import DAILY_EVENTS, days_of_run, rebuild_window
from dagster_project.ingest.ledger import Ledger, MarkedDates
from dagster_project.ingest.sources import Source, find_source, registered_sources
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse

OWNERS = ["team:data-engineering"]
WRITER_POOL = "warehouse_writer"
RETRIES = 2
RETRY_WAIT_SECONDS = 30

dbt_project = DbtProject(project_dir=REPOSITORY / "dbt", profiles_dir=REPOSITORY / "dbt")
# Under `dagster dev` the manifest follows every change of a model; `make` builds it for everything else.
dbt_project.prepare_if_dev()


class ManifestError(WarehouseError, FileNotFoundError):
    """dbt's manifest is missing or older than the project."""


def dbt_manifest() -> dict:
    """The manifest that the assets are made from.

    Raises:
        ManifestError: there is none, or a file of the dbt project is newer than it.
    """
    path = dbt_project.manifest_path
    ours = [REPOSITORY / "dbt" / "dbt_project.yml"]
    for folder in ("models", "macros", "seeds", "tests"):
        ours += [file for file in (REPOSITORY / "dbt" / folder).rglob("*") if file.is_file()]
    newest = max(ours, key=lambda file: file.stat().st_mtime)
    if not path.exists() or path.stat().st_mtime < newest.stat().st_mtime:
        found = f"older than {newest}" if path.exists() else "missing"
        raise ManifestError(f"The dbt manifest {path} is {found}: build it with `make setup`.")
    return json.loads(path.read_text())


class WarehouseResource(dg.ConfigurableResource):
    """The warehouse as one run sees it: settings, sources, ledger, and the right to write.

    The lock is taken at the first step that writes and held until the run ends, so that what was loaded is what gets
    published, whoever else waits.
    """

    source: str = Field("", description="Work on this registered source only; empty: on all of them")

    _run_id: str = PrivateAttr("")
    _run_tags: dict[str, str] = PrivateAttr(default_factory=dict)
    _is_holder: bool = PrivateAttr(False)
    _waited_in_vain: str = PrivateAttr("")

    @cached_property
    def settings(self) -> Settings:
        """As the environment has them when the step begins."""
        return Settings()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of these settings."""
        return Ledger(self.settings)

    @cached_property
    def marks(self) -> list[MarkedDates]:
        """Event dates that changed, source by source, as they stood when this run first asked."""
        return [self.ledger.marked_dates(source.contract, source.name) for source in self.sources()]

    @cached_property
    def rebuild(self) -> dict[str, dict] | None:
        """Event days that this run rebuilds, by source, as decided when it first asked; None: everything.

        Where there is no daily summary (a first run, a deleted build database), a window would be all that it gets.
        """
        if not Warehouse(self.settings).types(DAILY_EVENTS):
            return None
        days = days_of_run(self._run_tags)
        return {marked.source: rebuild_window(*days, marked.dates) for marked in self.marks}

    @property
    def run_id(self) -> str:
        """Id of the run that works with the resource; empty outside of runs."""
        return self._run_id

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Note the run, and watch memory from its beginning on."""
        memory_watch()  # The history of runs asks it for every step's memory.
        if context.run:
            self._run_id, self._run_tags = context.run.run_id, dict(context.run.tags)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Let go of the write lock, and delete what dbt compiled for the run."""
        if self._is_holder:
            shutil.rmtree(self.dbt_target, ignore_errors=True)
        release_run(self.settings, self._run_id)

    @property
    def dbt_target(self) -> Path:
        """Where dbt compiles for this run; gone after it."""
        return self.settings.temp_dir / f"dbt-{self._run_id[:8]}"

    def sources(self, contract: str | None = None) -> list[Source]:
        """The sources that this run works on, of one contract if given."""
        if not self.source:
            return registered_sources(self.settings, contract)
        source = find_source(self.settings, self.source)
        return [source] if contract in (None, source.contract) else []

    def _hold(self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> None:
        """Take the lock, once a run: what waited in vain for as long as is permitted waits no second time."""
        if self._is_holder:
            return
        try:
            if self._waited_in_vain:
                raise WarehouseBusyError(self._waited_in_vain)
            WriteLock(
                self.settings, run_id=self._run_id, what=context.run.job_name, on_wait=context.log.warning
            ).acquire()
            # A run that was killed may have left a dbt that still writes, and temporary files.
            Warehouse(self.settings).wait_until_free(on_wait=context.log.warning)
        except WarehouseBusyError as error:
            self._waited_in_vain = str(error)
            raise dg.Failure(str(error), allow_retries=False) from error
        empty_folder(self.settings.temp_dir)
        self._is_holder = True

    @contextmanager
    def writing(self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Generator[Settings]:
        """Settings to write with. What another process or a disk may have caused is tried again, and nothing else.

        Raises:
            dagster.RetryRequested: another process held a file, or the disk failed.
            dagster.Failure: anything that would fail again.
        """
        try:
            self._hold(context)
            yield self.settings
        except (dg.Failure, dg.RetryRequested):
            raise
        except (WarehouseBusyError, duckdb.IOException, OSError) as error:
            context.log.warning(f"Trying again in {RETRY_WAIT_SECONDS} s, {RETRIES} times at most: {error}")
            raise dg.RetryRequested(RETRIES, RETRY_WAIT_SECONDS) from error
        except DbtError as error:
            if any(words in str(error) for words in ("IO Error", "No space left on device")):
                raise dg.RetryRequested(RETRIES, RETRY_WAIT_SECONDS) from error
            raise dg.Failure(str(error), allow_retries=False) from error
        except Exception as error:
            raise dg.Failure(str(error), metadata={"kind": type(error).__name__}, allow_retries=False) from error


@dg.definitions
def resources() -> dg.Definitions:
    return dg.Definitions(resources={"warehouse": WarehouseResource()})
