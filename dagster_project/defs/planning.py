"""The plan of the next run, the part of Dagster's graph that it selects, and what a publication leaves for it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import dagster as dg

from dagster_project.base import clock
from dagster_project.base.errors import LockTimeoutError
from dagster_project.base.locks import WriteLock
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.versions import ALWAYS, PUBLICATION, graph_of, key_of, name_of, nodes_of
from dagster_project.ingest import identity
from dagster_project.ingest.changes import changed_tables
from dagster_project.ingest.landing import LandingError
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.requests import Erasures
from dagster_project.ingest.retention import next_expiry
from dagster_project.ingest.source_state import next_stale
from dagster_project.ingest.sources import Source, registered_sources
from dagster_project.settings import Settings
from dagster_project.store import accepted, versions
from dagster_project.store.plan import Accepted, Built, Node, Plan, make_plan, part_of, version_of

VERSION_TAG = "dagster/data_version"


class Selection(NamedTuple):
    """What a run is told to do."""

    assets: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey]


def plan_of(graph: Any, settings: Settings, sources: Sequence[Source], everything: str = "") -> Plan:
    """What a run must do that loads these sources.

    Args:
        graph: Dagster's graph of all assets.
        everything: why all is made again, if it is; an erasure that waits is such a reason too.
    """
    arriving = {}
    for source in sources:
        contract = CONTRACTS[source.contract]
        try:
            found = changed_tables(contract, source, settings)
        except LandingError as error:  # the run tells of it, and of no other source less for it
            found = {table.name: str(error) for table in contract.tables}
        marks = Ledger(settings).marked_dates(contract.name, source.name).dates
        if marks:  # of a run that was cut off
            found |= {x.name: "days that changed before" for x in contract.tables if x.is_event and x.name not in found}
        arriving |= {f"{contract.schema}.{table}": f"{reason} of {source.name}" for table, reason in found.items()}
    waiting = Erasures(settings).at("asked", "unloaded", "unbuilt")
    return make_plan(
        *_what_there_is(graph, settings, sources),
        clock.now_as_stored(),
        arriving,
        everything or ("a learner is to be erased" if waiting else ""),
    )


def _what_there_is(
    graph: Any, settings: Settings, sources: Sequence[Source]
) -> tuple[dict[str, Node], dict[str, Built], Accepted]:
    """Nodes, what is built, and what was published, for a run that loads these sources."""
    nodes, built = nodes_of(graph, settings), versions.read(settings)
    state = accepted.read(settings)
    taken = _with_unloaded(state.accepted if state else Accepted(), nodes, sources)
    if taken.versions.get(PUBLICATION) == version_of(nodes[PUBLICATION], {}):
        built[PUBLICATION] = _published(nodes[PUBLICATION])
    return nodes, built, taken


def _with_unloaded(taken: Accepted, nodes: Mapping[str, Node], sources: Sequence[Source]) -> Accepted:
    """What was taken, all that other sources have in raw tables included: it is not on this run to judge that."""
    names, schemas = {x.name for x in sources}, {CONTRACTS[x.contract].schema for x in sources}
    others = {name: node for name, node in nodes.items() if node.is_raw and name.partition(".")[0] not in schemas}
    left = [
        (node, part_of(name, source), version)
        for name, node in nodes.items()
        for source, version in node.parts.items()
        if source not in names
    ]
    judged = [*((node, name) for name, node in others.items()), *((node, part) for node, part, _ in left)]
    return Accepted(
        {
            **taken.versions,
            **{name: node.code for name, node in others.items()},
            **{part: version for _, part, version in left},
        },
        {**taken.checks, **{f"{name}:{x}": code for node, name in judged for x, code in node.checks.items()}},
    )


def _published(publication: Node) -> Built:
    return Built(version_of(publication, {}), publication.code, datetime.min)


def selection_of(plan: Plan, graph: Any, keys: Iterable[dg.AssetKey]) -> Selection:
    """Assets and checks of a job that a plan asks for: what it names, and what every run makes.

    Args:
        keys: assets of the job.
    """
    in_job = set(keys)
    planned = {key_of(name) for name in plan.tables} | {key for key in in_job if _is_of_every_run(graph, key)}
    assets = frozenset(planned & in_job)
    checks = {x for x in graph.asset_check_keys if f"{name_of(x.asset_key)}:{x.name}" in plan.checks}
    checks = {x for x in checks if x.asset_key in in_job}
    checks |= {x for x in graph.asset_check_keys if x.asset_key in assets}
    return Selection(assets, frozenset(checks))


def selected(
    repository: dg.RepositoryDefinition, job_name: str, sources: Sequence[Source], settings: Settings
) -> Selection | None:
    """What a job is told to do for these sources; None: nothing is new."""
    graph = repository.asset_graph
    plan = plan_of(graph, settings, sources)
    return selection_of(plan, graph, repository.get_job(job_name).asset_layer.selected_asset_keys) if plan else None


def _is_of_every_run(graph: Any, key: dg.AssetKey) -> bool:
    return key.path[0] in ALWAYS or any(parent.path[0] == "ops" for parent in graph.get(key).parent_keys)


def state_after(
    context: dg.AssetExecutionContext, settings: Settings, loaded: Sequence[Source], snapshot_id: str
) -> accepted.State:
    """What a publication takes in this run: what the run made or judged as it is now, all else as it was taken before.

    A table that another run built and did not publish stays to be judged, and so does what another source loaded.

    Args:
        loaded: sources that the run works on.
    """
    sources = _sources(settings)
    nodes, built, _ = _what_there_is(graph_of(context), settings, sources)
    built[PUBLICATION] = _published(nodes[PUBLICATION])
    state = accepted.read(settings)
    before = state.accepted if state else Accepted()
    made = {name_of(key) for key in context.job_def.asset_layer.selected_asset_keys}
    # Of the job: the record of a run that a command begins names no checks.
    judged = context.job_def.asset_check_selection
    taken = {name: _version(nodes, built, name) if name in made else before.versions.get(name) for name in nodes}
    names = {source.name for source in loaded}
    for name, node in nodes.items():
        for source, version in node.parts.items():
            part = part_of(name, source)
            taken[part] = version if name in made and source in names else before.versions.get(part)
    checks = {}
    for name, node in nodes.items():
        parts = {part_of(name, source): source in names for source in node.parts} or {name: True}
        for check, code in node.checks.items():
            now = name in made if judged is None else dg.AssetCheckKey(key_of(name), check) in judged
            for part, is_loaded in parts.items():
                if (now and is_loaded) or before.checks.get(f"{part}:{check}") == code:
                    checks[f"{part}:{check}"] = code
    after = Accepted({name: version for name, version in taken.items() if version}, checks)
    left = make_plan(nodes, built, _with_unloaded(after, nodes, sources), clock.now_as_stored(), {})
    for source in sources:
        with suppress(LandingError):  # hashed now, the files need not be read when the next run asks what is new
            changed_tables(CONTRACTS[source.contract], source, settings)
    earlier = state.since if state else {}
    same = {name for name, version in after.versions.items() if before.versions.get(name) == version}
    since = {name: earlier.get(name, snapshot_id) if name in same else snapshot_id for name in after.versions}
    return _state(settings, snapshot_id, after, since, left)


def confirm(graph: Any, settings: Settings) -> accepted.State | None:
    """Note that what is published follows from the code and the settings of today too, where the plan is empty.

    The next run then finds that before anything is imported. Nothing is noted while somebody else writes.
    """
    at_once = settings.model_copy(update={"lock_timeout_seconds": 0})
    with suppress(LockTimeoutError), WriteLock(at_once, run_id="confirm", what="A run that finds nothing new"):
        if state := accepted.read(settings):
            nodes, built, taken = _what_there_is(graph, settings, _sources(settings))
            left = make_plan(nodes, built, taken, clock.now_as_stored(), {})
            accepted.write(settings, _state(settings, state.snapshot_id, state.accepted, state.since, left))
    return accepted.read(settings)


def _state(
    settings: Settings, snapshot_id: str, taken: Accepted, since: Mapping[str, str], left: Plan
) -> accepted.State:
    due, reason = _due(left, settings)
    return accepted.State(
        snapshot_id,
        accepted.code_hash(),
        accepted.settings_hash(settings, identity.read_key(settings)),
        {source.name: (source.contract, str(source.landing)) for source in _sources(settings)},
        taken.versions,
        taken.checks,
        since,
        due,
        reason,
    )


def _sources(settings: Settings) -> list[Source]:
    return [source for source in registered_sources(settings) if source.contract in CONTRACTS]


def _version(nodes: Mapping[str, Node], built: Mapping[str, Built], name: str) -> str | None:
    if nodes[name].is_raw:
        return nodes[name].code
    return built[name].version if name in built else None


def _due(plan: Plan, settings: Settings) -> tuple[datetime | None, str]:
    """When there is something to do though nothing arrives, and what."""
    now = clock.now_as_stored()
    times: list[tuple[datetime, str]] = []
    if plan:
        name, reason = next(iter(plan.tables.items()), (next(iter(plan.checks), ""), "it is to be judged"))
        times.append((now, f"{name}: {reason}"))
    if plan.due:
        times.append((plan.due, "an analysis that waits for more data"))
    if stale := next_stale(CONTRACTS, settings, now):
        times.append((stale, "a source that gets old"))
    if expiry := next_expiry(CONTRACTS, settings):
        times.append((expiry, "raw rows whose time to be kept ends"))
    return min(times, default=(None, ""))


def report_kept(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Show in the UI that what this run did not make is up to date."""
    graph = graph_of(context)
    made = context.job_def.asset_layer.selected_asset_keys
    nodes, built = nodes_of(graph, settings), versions.read(settings)
    for name in nodes:
        version = _version(nodes, built, name)
        is_there = bool(nodes[name].parts) if nodes[name].is_raw else name != PUBLICATION
        if version and is_there and key_of(name) not in made:
            context.instance.report_runless_asset_event(
                dg.AssetObservation(key_of(name), tags={VERSION_TAG: version}, metadata={"up to date": True})
            )
