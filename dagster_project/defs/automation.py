"""Every partition definition, job, schedule and sensor, in one place."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import dagster as dg

from dagster_project.base import clock
from dagster_project.base.errors import StoreError
from dagster_project.base.locks import WriteLock
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.instance.failures import alert, problems_of
from dagster_project.defs.instance.lost_runs import fail_lost_runs
from dagster_project.defs.partitions import (
    DUE_TAG,
    ERASURES_TAG,
    FIRST_DAY_TAG,
    LANDING_TAG,
    LAST_DAY_TAG,
    MONTH,
    SOURCE_TAG,
    run_request_arguments,
)
from dagster_project.defs.planning import confirm, selected
from dagster_project.ingest.landing import SETTLED_SECONDS, landing_state
from dagster_project.ingest.requests import Erasures
from dagster_project.ingest.source_state import source_states
from dagster_project.ingest.sources import Source, registered_sources
from dagster_project.privacy.consumers import KINDS
from dagster_project.privacy.erasure.request import request_file, take_requests
from dagster_project.privacy.publish_for import OwnTables, publish_consumer
from dagster_project.report import organization_page
from dagster_project.report.outbox import send_waiting
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store import accepted

ATTEMPTS = 3
NOTHING_NEW = "nothing new: what is published is up to date"
WILL_RETRY_TAG = "dagster/will_retry"
AUTO_RETRY_RUN_ID_TAG = "dagster/auto_retry_run_id"


def job_name(contract: str) -> str:
    """Name of the job that loads one contract's sources and builds and publishes everything."""
    return f"run_{contract}"


def selection(contract: str | None = None) -> dg.AssetSelection:
    """Raw tables of one contract (or of all), and everything that dbt and Python make of them."""
    others = [name for name in CONTRACTS if contract not in (None, name)]
    chosen = dg.AssetSelection.all()
    for name in others:
        chosen = chosen - dg.AssetSelection.key_prefixes([CONTRACTS[name].schema])
    return chosen


jobs = [
    dg.define_asset_job(
        job_name(contract),
        selection=selection(contract),
        description=f"Load the sources on contract {contract}, then build, check and publish the warehouse.",
    )
    for contract in CONTRACTS
]
run_all = dg.define_asset_job(
    "run_all",
    selection=selection(),
    description="Load every source, then build, check and publish the warehouse.",
)


@dg.schedule(job=run_all, cron_schedule="0 3 * * *", execution_timezone="UTC")
def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Every night at three: yesterday's events of every source, and whatever else has landed, changed or become due."""
    settings = Settings()
    chosen = selected(_repository(context), run_all.name, registered_sources(settings), settings)
    if chosen is None:
        return dg.SkipReason(NOTHING_NEW)
    yesterday = (context.scheduled_execution_time - timedelta(days=1)).date()
    return dg.RunRequest(
        asset_selection=sorted(chosen.assets),
        asset_check_keys=sorted(chosen.checks),
        run_key=yesterday.isoformat(),
        partition_key=yesterday.strftime(MONTH),
        tags={FIRST_DAY_TAG: yesterday.isoformat(), LAST_DAY_TAG: yesterday.isoformat()},
    )


@dg.sensor(jobs=jobs, minimum_interval_seconds=60)
def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Run a source when its landing place has changed.

    Files are settled when two looks, a minute apart, find them the same: by what they look like, since clocks are
    wrong and files are dated in the future. A run that failed is asked for again, three times at most for the same
    files; one that somebody stopped is not, until the files change. The cursor holds, per source, the state that was
    last loaded with success, and the one that waits, with the time of the first look at it.
    """
    settings = Settings()
    cursor = _LandingCursor.read(context.cursor)
    requests, reasons = [], []
    for source in registered_sources(settings):
        state = landing_state(source.landing)
        if state is None or cursor.loaded.get(source.name) == state:
            cursor.seen.pop(source.name, None)
            continue
        runs = _runs_for(context.instance, source, LANDING_TAG, state)
        if any(run.status is dg.DagsterRunStatus.SUCCESS for run in runs):
            cursor.loaded[source.name] = state
            cursor.seen.pop(source.name, None)
        elif not _is_settled(cursor.seen, source.name, state, clock.timestamp()):
            reasons.append(f"{source.name}: its files changed since the last look")
        elif reason := _why_not_again(runs):
            reasons.append(f"{source.name}: {reason}")
        elif request := _request(_repository(context), source, settings, LANDING_TAG, state, len(runs)):
            requests.append(request)
        else:
            cursor.loaded[source.name] = state
            cursor.seen.pop(source.name, None)
            reasons.append(f"{source.name}: {NOTHING_NEW}")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason="; ".join(reasons) if reasons and not requests else None,
        cursor=json.dumps(asdict(cursor), sort_keys=True),
    )


@dataclass
class _LandingCursor:
    """What the sensor knows, by source: the state that was loaded; the one that waits, and when it was first seen."""

    loaded: dict[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> "_LandingCursor":
        """Begins anew where there is none or one of another form: the runs know what was loaded."""
        found = json.loads(text) if text else {}
        if found.keys() != {"loaded", "seen"} or not all(isinstance(part, dict) for part in found.values()):
            return cls()
        return cls(**found)


def _is_settled(seen: dict[str, tuple[str, float]], name: str, state: str, now: float) -> bool:
    """Whether a state was there at a look long enough ago; notes it where it was not there yet."""
    before, since = seen.get(name, (None, now))
    if before != state:
        seen[name] = (state, now)
        return False
    # A clock that was set back must not keep a delivery waiting until it has caught up.
    return abs(now - since) >= SETTLED_SECONDS


def _runs_for(instance: dg.DagsterInstance, source: Source, tag: str, state: str) -> list[dg.DagsterRun]:
    """The newest runs of a source for one state of what it waits for, `ATTEMPTS` at most."""
    wanted = dg.RunsFilter(tags={tag: state, SOURCE_TAG: source.name})
    return [record.dagster_run for record in instance.get_run_records(wanted, limit=ATTEMPTS)]


def _why_not_again(runs: Sequence[dg.DagsterRun]) -> str | None:
    """Why no further run is asked for after these of the same state, newest first; None: it is."""
    statuses = [run.status for run in runs]
    if dg.DagsterRunStatus.CANCELED in statuses:
        return "a run was stopped by hand, and is not started again for the same state"
    if any(status is not dg.DagsterRunStatus.FAILURE for status in statuses):
        return "a run waits or goes on"
    if any(run.tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in run.tags for run in runs):
        return "Dagster is about to start a killed run again"
    return f"{ATTEMPTS} runs failed" if len(runs) >= ATTEMPTS else None


def _repository(context: dg.ScheduleEvaluationContext | dg.SensorEvaluationContext) -> dg.RepositoryDefinition:
    """All definitions, which a tick of Dagster's always knows."""
    if context.repository_def is None:
        raise ValueError("a tick needs the repository: give `repository_def` to the context")
    return context.repository_def


def _request(
    repository: dg.RepositoryDefinition, source: Source, settings: Settings, tag: str, state: str, attempt: int
) -> dg.RunRequest | None:
    """A run of what is new of a source; None: nothing is."""
    chosen = selected(repository, job_name(source.contract), [source], settings)
    if chosen is None:
        return None
    arguments = run_request_arguments(source, settings, clock.today())
    arguments["tags"][tag] = state
    return dg.RunRequest(
        run_key=f"{source.name}:{state}:{attempt}",
        job_name=job_name(source.contract),
        asset_selection=sorted(chosen.assets),
        asset_check_keys=sorted(chosen.checks),
        **arguments,
    )


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Record runs whose process was killed as failed, so that those behind them in the queue can start."""
    lost = fail_lost_runs(context.instance)
    return dg.SkipReason(f"Recorded as failed: {', '.join(lost)}" if lost else "Every run that goes on has its process")


@dg.run_failure_sensor(monitor_all_code_locations=False, default_status=dg.DefaultSensorStatus.RUNNING)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """Alerts of failed runs that the UI, the schedule or the landing sensor started; to whom, the settings say."""
    run_id = context.dagster_run.run_id
    for line in alert(context.instance, run_id, Settings(), *problems_of(context.instance, run_id)):
        context.log.warning(line)


@dg.sensor(minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.RUNNING)
def waiting_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Send again the alerts that an address of the settings has not accepted, for a week at most."""
    told = send_waiting(Settings())
    for line in told:
        context.log.warning(line)
    return dg.SkipReason("; ".join(told) or "No alert waits")


def erasures_state(source: Source, settings: Settings) -> str | None:
    """Receipts of the learners of a source who wait to be erased; None: nobody does."""
    waiting = Erasures(settings).at("asked", "unloaded", "unbuilt", source=source.name)
    return ",".join(sorted(erasure.receipt for erasure in waiting)) or None


@dg.op
def ask_for_erasure(context: dg.OpExecutionContext) -> None:
    """Note who is to be erased; the sensor `erasures`, or the next run of their source, does it.

    Whom is not told to the run, since Dagster keeps what a run is told: it stands in a file of the identity store.
    """
    settings = Settings()
    lock = WriteLock(settings, run_id=context.run_id, what="erase_learner", on_wait=context.log.warning)
    noted, wrong = take_requests(settings, CONTRACTS, lock)
    for erasure in noted:
        context.log.info(f"Erasure {erasure.receipt} of source {erasure.source}: {erasure.stage}")
        if erasure.troubled:
            context.log.warning(
                f"Erasure {erasure.receipt}: {len(erasure.troubled)} landing files could not be searched or cleaned; "
                "its receipt will name them: look whether they hold the learner"
            )
    if wrong or not noted:
        path = request_file(settings)
        raise dg.Failure(
            "\n".join([f"{path}:", *wrong])
            if wrong
            else f"Nobody is to be erased: write a line `<source> <id of the learner in its files>` into {path}"
        )


@dg.job
def erase_learner() -> None:
    """Erase the learners of identity/erase.txt (a line each: source, blank, id in its files), which is gone then."""
    ask_for_erasure()


@dg.op(
    config_schema={
        "kind": dg.Field(str, description=f"Kind of the consumer: {', '.join(KINDS)}"),
        "id": dg.Field(str, description="Id of the program or organization, name of the university"),
    }
)
def write_consumer_file(context: dg.OpExecutionContext) -> None:
    """The rows of one consumer, from the published snapshot, as a file of their own."""
    kind, wanted = context.op_config["kind"], context.op_config["id"]
    if kind not in KINDS:
        raise dg.Failure(f"There are files for a {', a '.join(KINDS)}, not for a {kind!r}", allow_retries=False)
    settings = Settings()

    def make_page(tables: OwnTables) -> str:
        sources = [x for x in source_states(CONTRACTS, settings) if x.name == tables.source]
        return organization_page.make_page(tables, About.of(sources, settings))

    try:
        published = publish_consumer(
            settings, CONTRACTS.values(), kind, wanted, run_id=context.run_id, make_page=make_page
        )
        context.log.info(str(published))
    except StoreError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.job
def publish_for() -> None:
    """Publish the file of one program, university or organization, with its rows only."""
    write_consumer_file()


@dg.sensor(jobs=jobs, minimum_interval_seconds=60)
def erasures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Run a source whose learners ask to be erased, three times at most for the same ones.

    A run that somebody stopped is not started again for the same ones; the next run of the source erases them.
    """
    settings = Settings()
    requests, reasons = [], []
    for source in registered_sources(settings):
        state = erasures_state(source, settings)
        if state is None:
            continue
        runs = _runs_for(context.instance, source, ERASURES_TAG, state)
        if reason := _why_not_again(runs):
            reasons.append(f"{source.name}: {reason}")
        elif request := _request(_repository(context), source, settings, ERASURES_TAG, state, len(runs)):
            requests.append(request)
    return dg.SensorResult(run_requests=requests, skip_reason="; ".join(reasons) if reasons and not requests else None)


@dg.sensor(jobs=jobs, minimum_interval_seconds=60)
def due(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Run what is to be done though nothing arrives, three times at most for the same reason.

    Such as the effects of drivers when a cohort has matured in what the run before built, an analysis whose week is
    over, or a source that gets old.
    """
    settings = Settings()
    state = accepted.read(settings)
    if state is None or not state.is_due(clock.now_as_stored()):
        return dg.SkipReason(f"next: {state.due_reason}, {state.due} UTC" if state and state.due else "nothing is due")
    for source in registered_sources(settings):
        runs = _runs_for(context.instance, source, DUE_TAG, state.occasion)
        if why_not := _why_not_again(runs):
            return dg.SkipReason(f"{source.name}: {why_not}")
        if request := _request(_repository(context), source, settings, DUE_TAG, state.occasion, len(runs)):
            return dg.SensorResult(run_requests=[request])
    confirm(_repository(context).asset_graph, settings)
    return dg.SkipReason(NOTHING_NEW)


@dg.definitions
def automation() -> dg.Definitions:
    return dg.Definitions(
        jobs=[*jobs, run_all, erase_learner, publish_for],
        schedules=[daily],
        sensors=[landing, lost_runs, erasures, due, failed_runs, waiting_alerts],
    )
