"""The command line behind `make run`, `make demo` and `make ui`."""

import argparse
import errno
import importlib
import os
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from dagster_project.base.memory import memory_watch
from dagster_project.settings import PREFIX, REPOSITORY, Settings

FAULTS_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR}

LOOPBACK = "127.0.0.1"


def main() -> int:
    """Exit status: 0 done; 1 not done, and the output says why; 2 nothing was begun, and the output says why."""
    arguments = _parser().parse_args()
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        _say(f"A setting is wrong, and nothing was done. {error}")
        return 2
    try:
        return _perform(arguments, settings)
    except Exception as error:
        if isinstance(error, _known_errors()):
            _say(f"\n{error}")
            return 2
        fault = fault_of_the_machine(error)
        if fault is None:
            raise
        _say(
            f"\nThe run broke off: {fault}. Nothing was lost, and what was published before stays published. See that "
            f"{settings.home} can be written and has room, then run it again: it takes up where it was."
        )
        return 1


def _known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message says what was found, where, and what to do: a traceback would only hide it."""
    from dagster_project.analyses.quality.suite import SuiteError
    from dagster_project.base.errors import StoreError
    from dagster_project.contracts.reading import ContractError
    from dagster_project.ingest.landing import LandingError
    from dagster_project.ingest.requests import ErasureError
    from dagster_project.ingest.retention import RetentionError
    from dagster_project.ingest.sources import SourceError

    return ContractError, ErasureError, LandingError, RetentionError, SourceError, StoreError, SuiteError


def fault_of_the_machine(error: BaseException | None) -> str | None:
    """What a full disk or a closed folder is called, somewhere in the chain of an error; None: it is something else."""
    while error is not None:
        cause = getattr(error, "orig", error)  # what SQLAlchemy wraps
        if isinstance(cause, OSError) and cause.errno in FAULTS_OF_THE_MACHINE:
            return f"{cause.strerror}: {cause.filename}" if cause.filename else str(cause.strerror)
        if isinstance(cause, sqlite3.OperationalError) and re.search("disk|readonly|unable to open", str(cause)):
            return f"{cause}, says the file in which Dagster or the loader keeps its records"
        error = error.__cause__ or error.__context__
    return None


def _perform(arguments: argparse.Namespace, settings: Settings) -> int:
    _prepare_environment(settings)
    if arguments.verb == "ui":
        return _ui(arguments.port, arguments.host)
    if arguments.verb == "demo":
        return _demo(settings, arguments.students, arguments.seed)
    if arguments.verb == "search-identifiers":
        return _search_identifiers(settings)
    if arguments.verb == "publish-for":
        return _publish_for(settings, arguments)
    if arguments.verb == "find-learner":
        return _find_learner(settings, arguments.pseudonym)
    if arguments.verb == "erase":
        return _erase(settings, arguments.learner, arguments.source)
    return _run(settings, arguments.source, arguments.contract, arguments.landing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dagster_project", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="load, build, check and publish one source")
    run.add_argument("--source", required=True, help="name of the source, part of every key")
    run.add_argument("--landing", type=Path, help="folder or zip file with its files; remembered for later runs")
    run.add_argument("--contract", help="contract that the files follow; default: the source's name")
    demo = verbs.add_parser("demo", help="simulate a university, and run it through everything")
    demo.add_argument("--students", type=int, help="degree learners with a known first year; default: as in the report")
    demo.add_argument("--seed", type=int, default=1)
    erase = verbs.add_parser("erase", help="remove a learner everywhere; repeat it after an interruption")
    erase.add_argument("--learner", required=True, help="the learner's id, as the source's own files write it")
    erase.add_argument("--source", help="his source; may be left out when the warehouse has one")
    publish_for = verbs.add_parser("publish-for", help="a file of its own for a program, university or organization")
    publish_for.add_argument("--program", help="id or key of a program")
    publish_for.add_argument("--university", help="name of a university, or <source>:<name>: all its programs")
    publish_for.add_argument("--organization", help="id or key of an organization")
    find = verbs.add_parser("find-learner", help="from a published pseudonym back to the learner")
    find.add_argument("--pseudonym", required=True, help="a learner_id, a learner_key or a key that begins with one")
    verbs.add_parser("search-identifiers", help="search everything that runs write for names and e-mail addresses")
    ui = verbs.add_parser("ui", help="the Dagster UI on loopback")
    ui.add_argument("--port", type=int, default=3000)
    ui.add_argument(
        "--host", default=LOOPBACK, help="it has no login: another address needs a proxy that authenticates"
    )
    return parser


def _prepare_environment(settings: Settings) -> None:
    """Dagster keeps its runs inside the warehouse folder; neither it nor its friends call home."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REPOSITORY / "dagster_project" / "dagster.yaml", home / "dagster.yaml")
    os.environ.setdefault("DAGSTER_HOME", str(home.resolve()))
    # dagster-dbt looks for dbt on the path, and this environment need not be activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Dagster's own commands import the event log that dagster.yaml names.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")


def _ui(port: int, host: str = LOOPBACK) -> int:
    print(f"Dagster UI: http://{host}:{port} in about half a minute; Ctrl-C stops it", file=sys.stderr)
    command = ["dagster", "dev", "--host", host, "--port", str(port), "--workspace", "workspace.yaml"]
    os.chdir(REPOSITORY)
    os.execv(Path(sys.executable).parent / "dagster", command)  # noqa: S606 - our own environment's command


def _run(settings: Settings, name: str, contract: str | None, landing: Path | None) -> int:
    """Run the job of a source in this process; 0 when it published, 1 when it did not, 2 when it could not start."""
    started = time.monotonic()
    memory = memory_watch()
    _say("Starting Dagster and dbt …")

    import dagster as dg

    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.defs import automation
    from dagster_project.defs.instance.failures import problems_of
    from dagster_project.defs.instance.history import record_end
    from dagster_project.defs.instance.lost_runs import fail_lost_runs
    from dagster_project.ingest.sources import Source, find_source, register_source
    from dagster_project.report.outbox import send_waiting
    from dagster_project.report.summary import run_summary

    if landing:
        register_source(settings, Source(name, contract or name, landing), CONTRACTS)
    source = find_source(settings, name)
    with dg.DagsterInstance.get() as instance:
        fail_lost_runs(instance)
        arguments = automation.run_request_arguments(source, settings, datetime.now(UTC).date())
        tags = arguments["tags"] | {automation.MAX_RETRIES_TAG: "0"}  # Dagster can start again what it started only
        # The sensors then know what this run loads and whom it erases.
        landed, erased = automation.landing_state(source.landing), automation.erasures_state(source, settings)
        tags |= {automation.LANDING_TAG: landed} if landed else {}
        tags |= {automation.ERASURES_TAG: erased} if erased else {}
        result = dg.execute_job(
            dg.build_reconstructable_job(
                "dagster_project.definitions", "contract_job", reconstructable_kwargs={"contract": source.contract}
            ),
            instance=instance,
            tags=tags,
            run_config={**arguments["run_config"], "loggers": {"console": {}}},
        )
        if not_recorded := record_end(instance, result.run_id, settings):
            _say(not_recorded)
        failure = () if result.success else problems_of(instance, result.run_id)
        told = automation.alert(instance, result.run_id, settings, *failure) if failure else send_waiting(settings)
        for line in told:
            _say(line)
    seconds = time.monotonic() - started
    cost = (seconds, memory.peak(), _step_seconds(result))
    print(run_summary(settings, source.name, result.success, *cost, *failure))
    return 0 if result.success else 1


def _erase(settings: Settings, learner: str, name: str | None) -> int:
    """Ask for an erasure, then run the source, which carries it out; status as `_run`."""
    from dagster_project.base.locks import WriteLock
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.erasure import note_landing_files, request_erasure
    from dagster_project.ingest.requests import ErasureError, Erasures
    from dagster_project.ingest.sources import find_source, registered_sources
    from dagster_project.privacy.erasure.stages import receipt_path

    known = registered_sources(settings)
    if name is None and len(known) != 1:
        raise ErasureError(
            f"The warehouse {settings.home} has {len(known) or 'no'} sources"
            + (f" ({', '.join(x.name for x in known)}): say whose learner it is with SOURCE=…" if known else "")
        )
    source = find_source(settings, name or known[0].name)
    contract = CONTRACTS[source.contract]
    with WriteLock(settings, run_id=f"erase-{os.getpid()}", what="make erase", on_wait=_say):
        erasure = request_erasure(settings, contract, source.name, learner_id=learner)
        erasure = note_landing_files(contract, source.name, source.landing, learner, erasure, settings)
    receipt = receipt_path(settings, erasure)
    if erasure.stage == "finished":
        print(f"Erased before, on {erasure.finished_at}: nothing is left to do. Receipt: {receipt}")
    else:
        _say(f"Erasure {erasure.receipt} is noted; a run of source {source.name} carries it out …")
        if status := _run(settings, source.name, None, None):
            print("The learner is NOT erased yet: earlier snapshots hold him. Put right what failed, and erase again.")
            _print_troubled(source.landing, erasure.troubled)
            return status
        (erasure,) = (x for x in Erasures(settings).all() if x.receipt == erasure.receipt)
        print(f"\nErased, with {sum(erasure.removed.values()):,} rows in {len(erasure.removed)} tables and files.")
        print(f"Receipt, without personal data: {receipt}")
    if left := [file for file in erasure.landing if file not in erasure.rewritten]:
        print(f"These files in {source.landing} hold the learner still; no load brings him back:")
        print("".join(f"  {file}\n" for file in left), end="")
    _print_troubled(source.landing, erasure.troubled)
    return 0


def _print_troubled(landing: Path, troubled: Mapping[str, str]) -> None:
    if troubled:
        print(f"These in {landing} could not be searched or cleaned: look yourself whether they hold the learner.")
        print("".join(f"  {file}: {reason}\n" for file, reason in troubled.items()), end="")


def _publish_for(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when the consumer has a new file, 2 when not."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.privacy.consumers import KINDS
    from dagster_project.privacy.publish_for import publish_consumer

    given = [(kind, wanted) for kind in KINDS if (wanted := getattr(arguments, kind))]
    if len(given) != 1:
        print("Say for whom: make publish-for PROGRAM=id | ORGANIZATION=id | UNIVERSITY=name", file=sys.stderr)
        return 2
    published = publish_consumer(
        settings, CONTRACTS.values(), *given[0], run_id=f"publish-for-{os.getpid()}", on_progress=_say
    )
    print(published)
    return 0


def _find_learner(settings: Settings, pseudonym: str) -> int:
    """0 when somebody bears the pseudonym, 2 when nobody does."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.privacy.learner_lookup import find_learner

    print(*find_learner(settings, CONTRACTS.values(), pseudonym), sep="\n")
    return 0


def _search_identifiers(settings: Settings) -> int:
    """0 when nothing was found, 1 when something was."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.privacy.identifier_search import search_identifiers

    search = search_identifiers(CONTRACTS.values(), settings)
    print(search)
    return 1 if search.hits else 0


def _step_seconds(result) -> dict[str, float]:
    """Seconds of the steps of a run, tables of a schema together, in the order in which they began."""
    seconds: dict[str, float] = {}
    for event in result.all_events:
        if event.is_step_success:
            name = event.step_key.partition("__")[0]
            name = "expectations" if name.startswith("expectations_") else name
            seconds[name] = seconds.get(name, 0.0) + event.step_success_data.duration_ms / 1000
    return seconds


def _demo(settings: Settings, students: int | None, seed: int) -> int:
    """Simulate a university and run it; status as `_run`. Another source of that name is left alone."""
    from dagster_project import demo
    from dagster_project.ingest.sources import registered_sources
    from dagster_project.simulate import STUDENTS

    landing = demo.landing_place(settings)
    taken = [
        x.landing for x in registered_sources(settings) if x.name == demo.SOURCE and x.landing != landing.resolve()
    ]
    if taken:
        _say(
            f"The warehouse {settings.home} holds a source {demo.SOURCE} of your own, from {taken[0]}: the demo would "
            f"replace it. Give it another warehouse: {PREFIX}HOME=warehouse-demo make demo"
        )
        return 2
    unset = {name: value for name, value in demo.DEFAULTS.items() if name not in settings.model_fields_set}
    os.environ.update({f"{PREFIX}{name.upper()}": value for name, value in unset.items()})
    settings = Settings()
    # The definitions take ten seconds to import: meanwhile the university is made.
    threading.Thread(target=importlib.import_module, args=["dagster_project.definitions"], daemon=True).start()
    truth = demo.make_university(settings, students or STUDENTS, seed, _say)
    status = _run(settings, demo.SOURCE, None, landing)
    if status == 0:
        print("\n" + demo.demo_summary(settings, truth))
    return status


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
