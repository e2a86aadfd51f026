"""The command line behind `make run` and `make ui`."""

import argparse
import os
import shutil
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.settings import REPOSITORY, Settings


def main() -> int:
    arguments = _parser().parse_args()
    settings = Settings()
    _prepare_environment(settings)
    if arguments.verb == "ui":
        return _ui(arguments.port)
    return _run(settings, arguments.source, arguments.contract, arguments.landing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dagster_project", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="load, build, check and publish one source")
    run.add_argument("--source", required=True, help="name of the source, part of every key")
    run.add_argument("--landing", type=Path, help="folder or zip file with its files; remembered for later runs")
    run.add_argument("--contract", help="contract that the files follow; default: the source's name")
    ui = verbs.add_parser("ui", help="the Dagster UI on loopback")
    ui.add_argument("--port", type=int, default=3000)
    return parser


def _prepare_environment(settings: Settings) -> None:
    """Dagster keeps its runs inside the warehouse folder; neither it nor its friends call home."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REPOSITORY / "dagster_project" / "dagster.yaml", home / "dagster.yaml")
    os.environ.setdefault("DAGSTER_HOME", str(home.resolve()))
    # dagster-dbt looks for dbt on the path, and this environment need not be activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")


def _ui(port: int) -> int:
    print(f"Dagster UI: http://127.0.0.1:{port} in about half a minute; Ctrl-C stops it", file=sys.stderr)
    command = ["dagster", "dev", "--host", "127.0.0.1", "--port", str(port), "--workspace", "workspace.yaml"]
    os.chdir(REPOSITORY)
    os.execv(Path(sys.executable).parent / "dagster", command)  # noqa: S606 - our own environment's command


def _run(settings: Settings, name: str, contract: str | None, landing: Path | None) -> int:
    """Run the job of a source in this process; 0 when it published, 1 when it did not, 2 when it could not start."""
    started = time.monotonic()
    memory = PeakMemory()
    print("Starting Dagster and dbt …", file=sys.stderr)

    import dagster as dg

    from dagster_project.defs import automation
    from dagster_project.defs.contracts import CONTRACTS
    from dagster_project.ingest.sources import Source, SourceError, find_source, register_source
    from dagster_project.report.summary import run_summary

    try:
        if landing:
            register_source(settings, Source(name, contract or name, landing), CONTRACTS)
        source = find_source(settings, name)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 2
    with dg.DagsterInstance.get() as instance:
        arguments = automation.run_request_arguments(source, settings, datetime.now(UTC).date())
        result = dg.execute_job(
            dg.build_reconstructable_job(
                "dagster_project.definitions", "contract_job", reconstructable_kwargs={"contract": source.contract}
            ),
            instance=instance,
            tags=arguments["tags"],
            run_config={**arguments["run_config"], "loggers": {"console": {}}},
        )
    print(run_summary(settings, source.name, result.success, time.monotonic() - started, memory.peak()))
    return 0 if result.success else 1


class PeakMemory:
    """Largest resident memory of this process and its children together, sampled four times a second."""

    def __init__(self) -> None:
        self._peak = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def peak(self) -> int:
        """Bytes."""
        return self._peak

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            total = process.memory_info().rss
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self._peak = max(self._peak, total)
            time.sleep(0.25)  # a look at the process tree costs some milliseconds of CPU


if __name__ == "__main__":
    sys.exit(main())
