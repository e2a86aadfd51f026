"""What a run must do: which tables, pages and checks no longer follow from what they were made from.

Every table has a version, the hash of the code that makes it and of the versions of all that it reads; the version of a
raw table is that of the files that the ledger knows. A table is made again where the build database has another version
of it, or where the last publication accepted another one: what was built in a run that did not publish has not passed
its checks. Decided here is what changed, nothing is looked up: `versions.py` gathers what there is.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Node:
    """A table or a page that a run can make.

    Attributes:
        code: hash of what makes it, and of the settings and variables that this uses.
        parents: "schema.table" of what it reads.
        step: of what must be made together with it; its own name where that is nothing.
        checks: hash of each check of it, by name.
        judged_on_the_way: those of the checks that the step itself judges, so that it must be run for them.
        rhythm: how long it is kept though what it reads has changed.
        marker: what ends that time early when it changes, such as the number of cohorts with a known end.
        is_raw: whether it is loaded; its version is then `code`.
        parts: version of what each source has in a raw table: a run that works on some sources judges no others.
    """

    code: str
    parents: tuple[str, ...] = ()
    step: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    judged_on_the_way: Set[str] = frozenset()
    rhythm: timedelta | None = None
    marker: str = ""
    is_raw: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """What the build database has of a table."""

    version: str
    code: str
    built_at: datetime
    marker: str = ""


@dataclass(frozen=True)
class Accepted:
    """What the last publication took: versions by table and page, hashes of checks by "schema.table:check".

    Of a raw table with parts, the versions of these and the checks that they passed, by `part_of`.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        tables: those to make, each with the reason.
        checks: "schema.table:check" to judge, those of `tables` included.
        kept: version of every other table and page.
        due: when a table that was kept though its inputs changed is made again; None: there is none.
    """

    tables: Mapping[str, str]
    checks: Set[str]
    kept: Mapping[str, str]
    due: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.tables or self.checks)


def version_of(node: Node, parents: Mapping[str, str]) -> str:
    """Version of a table that is made from tables of these versions; one that is missing is of no known version."""
    if node.is_raw:
        return node.code
    text = json.dumps([node.code, sorted((name, parents.get(name)) for name in node.parents)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def version_now(
    nodes: Mapping[str, Node], built: Mapping[str, Built], making: Set[str], now: datetime
) -> dict[str, Built]:
    """What tables that are made at this moment become: of each, and not of what it would be after a whole run.

    Args:
        nodes: those made, and the raw tables that they read.
    """
    versions = {name: x.version for name, x in built.items() if name not in making}
    for name in _in_order(nodes):
        if nodes[name].is_raw or name in making:
            versions[name] = version_of(nodes[name], versions)
    return {name: Built(versions[name], nodes[name].code, now, nodes[name].marker) for name in nodes if name in making}


def make_plan(
    nodes: Mapping[str, Node],
    built: Mapping[str, Built],
    accepted: Accepted,
    now: datetime,
    arriving: Mapping[str, str],
    everything: str = "",
) -> Plan:
    """The tables that changed, and what hangs on them.

    Args:
        nodes: every table and page by "schema.table"; what is read and stands not among them never changes.
        built: what the build database has; of pages, what lies there.
        arriving: raw tables that a load will change, with what it will find.
        everything: why all is made again, if it is.
    """
    checks = {
        f"{name}:{check}"
        for name, node in nodes.items()
        for check, code in node.checks.items()
        if not _is_judged(name, node, check, code, accepted)
    }
    # What a step makes is made together, and a check that it judges on the way is judged by making it. That may change
    # further tables, and so make further steps.
    of_checks = (check.split(":", 1) for check in checks)
    steps = {nodes[name].step for name, check in of_checks if check in nodes[name].judged_on_the_way} - {""}
    while True:
        found = _pass(nodes, built, accepted, now, arriving, everything, steps)
        more = {nodes[name].step for name in found.tables} - {""} - steps
        if not more:
            break
        steps |= more
    checks |= {f"{name}:{check}" for name in found.tables for check in nodes[name].checks}
    return replace(found, checks=checks)


def _pass(
    nodes: Mapping[str, Node],
    built: Mapping[str, Built],
    accepted: Accepted,
    now: datetime,
    arriving: Mapping[str, str],
    everything: str,
    steps: Set[str],
) -> Plan:
    """The plan where these steps are run in any case."""
    reasons: dict[str, str] = {}
    versions: dict[str, str] = {}
    changing: set[str] = set()
    due: list[datetime] = []
    for name in _in_order(nodes):
        node, there = nodes[name], built.get(name)
        parent = next((x for x in node.parents if x in changing), None)
        versions[name] = version_of(node, versions)
        reason = ""
        if everything:
            reason = everything
        elif name in arriving:
            reason = f"a load will find {arriving[name]}"
        elif node.is_raw:
            pass  # the ledger tells what is loaded, and that is its version
        elif there is None:
            reason = "it was never made"
        elif there.code != node.code:
            reason = "its code, or a setting that it uses, changed"
        elif parent or there.version != versions[name]:
            reason = f"{parent} changes" if parent else "what it reads changed"
            if node.step not in steps and (until := _kept_until(node, there, now)):
                reason, versions[name] = "", there.version
                due.append(until)
        if reason:
            changing.add(name)
        elif not _is_published(name, node, versions[name], accepted):
            reason = "it was not published yet"
        elif node.step in steps:
            reason = "it is made or judged together with another one"
        if reason:
            reasons[name] = reason
    kept = {name: versions[name] for name in nodes if name not in reasons}
    return Plan({name: reasons[name] for name in nodes if name in reasons}, set(), kept, min(due, default=None))


def part_of(name: str, source: str) -> str:
    """Name of what a source has in a raw table."""
    return f"{name}@{source}"


def _is_published(name: str, node: Node, version: str, accepted: Accepted) -> bool:
    if node.parts:
        return all(accepted.versions.get(part_of(name, source)) == part for source, part in node.parts.items())
    return accepted.versions.get(name) == version


def _is_judged(name: str, node: Node, check: str, code: str, accepted: Accepted) -> bool:
    names = [part_of(name, source) for source in node.parts] or [name]
    return all(accepted.checks.get(f"{x}:{check}") == code for x in names)


def _kept_until(node: Node, there: Built, now: datetime) -> datetime | None:
    if node.rhythm is None or node.marker != there.marker:
        return None
    until = there.built_at + node.rhythm
    return until if now < until else None


def _in_order(nodes: Mapping[str, Node]) -> Iterable[str]:
    """Parents first."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in done:
            for parent in nodes[name].parents:
                if parent in nodes:
                    visit(parent)
            done[name] = None

    for name in nodes:
        visit(name)
    return done
