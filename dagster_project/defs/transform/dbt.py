"""dbt in this process, from a manifest that is kept: no other Python starts, and nothing is parsed twice.

dagster-dbt's command line resource starts a process that imports dbt again and parses the project: what a build says
there by JSON lines, it says here by callbacks, and dagster-dbt makes the same events of it.
"""

import queue
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import get_asset_check_key_for_test
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from dagster_project.base.errors import DbtError
from dagster_project.base.files import content_hash, replaced
from dagster_project.settings import REPOSITORY

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT = REPOSITORY / "dbt"
PARTS = ("models", "macros", "seeds", "tests", "dbt_project.yml", "profiles.yml")
"""What a manifest is made of."""
FAILED = ("error", "fail", "runtime error")
SHOWN_FAILURES = 20
SHOWN_LEVELS = ("info", "warn", "error")
KEPT = "parsed-{}.msgpack"
CHOSEN = "chosen"
SELECTED = ["--select", f"tag:{CHOSEN}", "--indirect-selection", "empty"]
"""What a build is about has a tag: dbt compares every name that it is given with every node, which took 6 s for all."""


@dataclass(frozen=True)
class Nodes:
    """The models, seeds and tests that one step may build, and how Dagster calls them.

    Attributes:
        manifest: as `manifest.json` has it.
        translator: gives the keys of assets and checks.
        models: unique id of each model and seed that is built when the step has ended, by asset key.
    """

    manifest: Mapping[str, Any]
    translator: DagsterDbtTranslator
    models: Mapping[dg.AssetKey, str]

    def chosen(self, context: dg.AssetExecutionContext) -> set[str]:
        """Unique ids of what this step is to build, and of every test of what may change by that.

        A test that compares a table with another one belongs to one of them, and is run when either is built.
        """
        chosen = {self.models[key] for key in context.selected_asset_keys if key in self.models}
        wanted = set(context.selected_asset_check_keys)
        tests = set()
        for unique_id, node in self.manifest["nodes"].items():
            if node["resource_type"] != "test":
                continue
            key = get_asset_check_key_for_test(self.manifest, self.translator, unique_id, project=None)
            parents = [x for x in node["depends_on"]["nodes"] if not x.startswith("source.")]
            is_ready = set(parents) <= set(self.models.values())
            if key in wanted or (is_ready and chosen & set(parents)):
                tests.add(unique_id)
        return chosen | tests

    def events(self, message: dict, context: dg.AssetExecutionContext, target: Path) -> Iterator:
        """Dagster's events of what dbt says; a test that passed and is no check of this step says nothing."""
        event = DbtCoreCliEventMessage(message, event_history_metadata={})
        for made in event.to_default_asset_events(self.manifest, self.translator, context, target):
            if not isinstance(made, dg.AssetObservation):
                yield made


def build(
    arguments: Sequence[str], nodes: Nodes, context: dg.AssetExecutionContext, target: Path
) -> Iterator[dg.Output | dg.AssetCheckResult]:
    """`dbt build` of what a step is to build; yields Dagster's events as dbt comes to them.

    Args:
        arguments: further ones of dbt.
        target: folder for what is compiled.

    Raises:
        DbtError: something failed; what was yielded before stands.
    """
    from dbt.cli.main import dbtRunner
    from google.protobuf.json_format import MessageToDict

    told: queue.SimpleQueue = queue.SimpleQueue()
    done = object()

    def listen(message: Any) -> None:
        if "node_info" in message.data.DESCRIPTOR.fields_by_name:
            told.put(MessageToDict(message, preserving_proto_field_name=True))
        if message.info.level in SHOWN_LEVELS and message.info.msg:
            print(f"{datetime.now(UTC):%H:%M:%S}  {message.info.msg}", flush=True)

    def invoke() -> None:
        try:
            manifest = parsed_manifest()
            for unique_id in chosen:
                manifest.nodes[unique_id].tags.append(CHOSEN)
            runner = dbtRunner(manifest=manifest, callbacks=[listen])
            told.put(runner.invoke([*_global_arguments(), "build", *_folders(target), *arguments, *SELECTED]))
        except BaseException as error:
            told.put(error)
        finally:
            _let_go()
            told.put(done)

    chosen = nodes.chosen(context)
    # Its own thread, so that Dagster knows of a table when it is there and not when all are.
    thread = threading.Thread(target=invoke, name="dbt", daemon=True)
    thread.start()
    result = None
    while (message := told.get()) is not done:
        if isinstance(message, dict):
            yield from nodes.events(message, context, target)
        else:
            result = message
    thread.join()
    _raise_for_failure(result)


def build_staging(contract: str, target: Path) -> tuple[list[str], list[str]]:
    """Build the staging models of a contract with their tests, outside of any run.

    Args:
        target: folder for what is compiled.

    Returns:
        What failed and what dbt warns of, a line each.

    Raises:
        DbtError: dbt could not begin.
    """
    from dbt.cli.main import dbtRunner

    chosen = ["--select", f"path:models/staging/{contract}", "--exclude-resource-type", "unit_test"]
    arguments = [*_global_arguments(), "build", *_folders(target), *chosen]
    try:
        result = dbtRunner(manifest=parsed_manifest()).invoke([*arguments, "--indirect-selection", "cautious"])
    finally:
        _let_go()
    if result.exception is not None:
        raise DbtError(f"dbt could not begin: {result.exception}") from result.exception
    return _told(result, FAILED), _told(result, ("warn",))


def _let_go() -> None:
    """Close the database: dbt leaves that to the end of the process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.factory import cleanup_connections, reset_adapters

    cleanup_connections()
    reset_adapters()
    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager.env().close()
        DuckDBConnectionManager.close_all_connections()


def _raise_for_failure(result: Any) -> None:
    if isinstance(result, BaseException):
        raise result
    if result.success:
        return
    if result.exception is not None:
        raise DbtError(f"dbt could not begin: {result.exception}") from result.exception
    failed = _told(result, FAILED)
    told = failed[:SHOWN_FAILURES]
    more = f"\n… and {len(failed) - SHOWN_FAILURES} more" if len(failed) > SHOWN_FAILURES else ""
    raise DbtError(f"{len(failed)} of {len(result.result.results)} dbt nodes failed:\n" + "\n".join(told) + more)


def _told(result: Any, statuses: Collection[str]) -> list[str]:
    told = [x for x in result.result.results if x.status in statuses]
    return [f"{x.node.name}: {' '.join(str(x.message).split())}" for x in told]


def parsed_manifest() -> "Manifest":
    """The project as dbt reads it: kept from the last time that it was read, or read now.

    It is the same for every warehouse: what differs between them is read when SQL is compiled.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    folder = PROJECT / "target"
    kept = folder / KEPT.format(content_hash(PROJECT, PARTS, version("dbt-core"), version("dbt-duckdb")))
    if not kept.exists():
        folder.mkdir(exist_ok=True)
        for earlier in folder.glob(KEPT.format("*")):
            earlier.unlink(missing_ok=True)
        with replaced(kept) as incoming:
            _parse(incoming)
    manifest = Manifest.from_msgpack(kept.read_bytes(), decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()
    return manifest


def _parse(path: Path) -> None:
    from dbt.cli.main import dbtRunner

    target = path.with_name(f"{path.name}.parsing")
    try:
        arguments = [*_global_arguments(), "--quiet", "parse", *_folders(target), "--no-partial-parse"]
        result = dbtRunner().invoke(arguments)
        if not result.success:
            raise DbtError(f"dbt cannot read the project {PROJECT}: {result.exception}")
        # dbt writes it whatever it is told, for a partial parse that the next process might do.
        shutil.move(target / "partial_parse.msgpack", path)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _global_arguments() -> list[str]:
    # Without loggers of its own, which look for secrets in every one of 18 messages a node: callbacks hear all of them.
    return ["--no-use-colors", "--log-level", "none", "--log-level-file", "none", "--no-write-json"]


def _folders(target: Path) -> list[str]:
    folders = {"project-dir": PROJECT, "profiles-dir": PROJECT, "target-path": target, "log-path": target}
    return [text for name, path in folders.items() for text in (f"--{name}", str(path))]
