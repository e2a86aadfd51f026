"""Files for single consumers: what of the published snapshot is about one program, university or organization.

published_for/<source>/<kind>-<id>/
    learning_warehouse.duckdb, parquet      stable paths, as in published/
    skills.html                             an organization's own page
    current -> snapshots/<id>
    snapshots/<id>/
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dagster_project.base import clock
from dagster_project.base.engine import attach, open_engine
from dagster_project.base.errors import PublishError
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.base.locks import WriteLock
from dagster_project.base.sql import identifier, qualified
from dagster_project.contracts.source import Contract
from dagster_project.contracts.tables import MODELS, find_direct_identifiers
from dagster_project.ingest.requests import Erasures
from dagster_project.privacy.consumers import Consumer, Kind, Rule, find_consumer, find_rule, find_strangers, make_scope
from dagster_project.privacy.identifier_search import identity_files
from dagster_project.settings import Settings
from dagster_project.store.identifiers import Found
from dagster_project.store.meta import SourceInfo, Table, find_tables, write_meta
from dagster_project.store.parquet import export_parquet
from dagster_project.store.pseudonyms import make_pseudonyms, under_pseudonyms
from dagster_project.store.publish import (
    DATABASE,
    HISTORY,
    PUBLIC_SCHEMAS,
    STORAGE_VERSION,
    audit,
    copy_table,
    make_snapshot_id,
    name_snapshot,
    swap_in,
)

if TYPE_CHECKING:
    import pandas as pd

_REMOVED = ".removed-"
PAGE = "skills.html"


class OwnTables:
    """The tables of one consumer's file, for their page."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: str) -> None:
        self._connection = connection
        self.source = source

    def read(self, table: str) -> "pd.DataFrame":
        """A table ("schema.table") in memory."""
        return self._connection.execute(f"from {qualified(table, 'snapshot')}").df()


@dataclass(frozen=True)
class ConsumerPublication:
    """What one consumer got.

    Attributes:
        tables: rows by table, with those of `_meta`.
        left_out: tables of the snapshot that they have no part in, with the reason.
        without_rule: those of them that no rule covers.
    """

    consumer: Consumer
    snapshot_id: str
    folder: Path
    tables: Mapping[str, int]
    left_out: Mapping[str, str]
    without_rule: Sequence[str]
    searched: Found
    seconds: float

    def __str__(self) -> str:
        reasons: dict[str, list[str]] = {}
        for table, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(table)
        rows = sum(count for table, count in self.tables.items() if not table.startswith("_meta."))
        return "\n".join(
            [
                f"Published for {self.consumer}: {rows:,} rows in {self.folder / DATABASE} ({self.seconds:.0f} s).",
                *([f"Its page: {self.folder / PAGE}"] if (self.folder / PAGE).exists() else []),
                f"Searched {self.searched.columns} text columns for {self.searched.identifiers:,} names and e-mail "
                "addresses: none is in it.",
                "Left out:",
                *(f"  {', '.join(tables)}: {reason}" for reason, tables in reasons.items()),
            ]
        )


def publish_for(
    settings: Settings,
    kind: Kind,
    wanted: str,
    *,
    key: bytes,
    identities: Mapping[Path, Sequence[str]] | None = None,
    make_page: Callable[[OwnTables], str] | None = None,
    models: Path = MODELS,
    on_progress: Callable[[str], None] = lambda message: None,
) -> ConsumerPublication:
    """Write the rows of one consumer, from the current published snapshot. Call it while holding the `WriteLock`.

    Learners have pseudonyms of their own in it, made with `key` and the consumer's name: the files of two consumers
    cannot be joined by them.

    Args:
        wanted: id of the program or organization, name of the university; or its key.
        key: secret of the pseudonyms.
        identities: as `publish`.
        make_page: makes the page (HTML) of an organization from the tables of its file.

    Raises:
        StoreError: nothing is published yet, or there is no such consumer.
        PublishError: an audit failed; the consumer's earlier file stays.
    """
    started = time.monotonic()
    origin = (settings.published_dir / "current").resolve()
    with open_engine(settings) as connection:
        attach(connection, origin / DATABASE, "published")
        consumer = find_consumer(connection, "published", kind, wanted)
    folder = settings.published_for_dir / consumer.folder
    snapshot_id = make_snapshot_id()
    left_out: dict[str, str] = {}
    without_rule: list[str] = []

    def fill(incoming: Path) -> tuple[dict[str, int], Found]:
        on_progress(f"Copying what is about {consumer}")
        with open_engine(settings) as connection:
            attach(connection, origin / DATABASE, "published")
            attach(connection, incoming / DATABASE, "snapshot", f"storage_version '{STORAGE_VERSION}'")
            make_scope(connection, "published", consumer)
            make_pseudonyms(
                connection,
                "select learner_key from published.core.dim_learner",
                consumer_key(kind, consumer.key, key),
            )
            tables = []
            for table in find_tables(connection, "published", PUBLIC_SCHEMAS):
                names = [column.name for column in table.columns]
                rule = find_rule(kind, table.full_name, names, settings.minimum_group_size)
                if rule is None:
                    without_rule.append(table.full_name)
                    left_out[table.full_name] = "no rule says which of its rows are whose"
                elif rule.condition is None:
                    left_out[table.full_name] = rule.reason
                else:
                    if table.schema not in {x.schema for x in tables}:
                        connection.execute(f"create schema snapshot.{identifier(table.schema)}")
                    _copy(connection, table, rule)
                    tables.append(table)
            _check(connection, consumer, tables)
            _write_meta(connection, tables, consumer, snapshot_id, origin.name)
            expected = _counts(connection, tables)
            connection.execute("checkpoint snapshot")
        on_progress("Auditing the copy and exporting it as Parquet")
        counts, searched = audit(
            settings, incoming / DATABASE, expected, find_direct_identifiers(models), identities or {}, ("core",)
        )
        export_parquet(settings, incoming / DATABASE, counts)
        if page_of is not None:
            with open_engine(settings) as connection:
                attach(connection, incoming / DATABASE, "snapshot")
                page = name_snapshot(page_of(OwnTables(connection, consumer.source)), snapshot_id)
            (incoming / PAGE).write_text(page)
        return counts, searched

    page_of = make_page if kind == "organization" else None
    names = (DATABASE, "parquet") if page_of is None else (DATABASE, "parquet", PAGE)
    counts, searched = swap_in(folder, snapshot_id, fill, settings.snapshots_kept, names)
    seconds = time.monotonic() - started
    return ConsumerPublication(consumer, snapshot_id, folder, counts, left_out, without_rule, searched, seconds)


def consumer_key(kind: str, key: str, secret: bytes) -> bytes:
    """Key of the pseudonyms in one consumer's file, from the consumer's kind and key."""
    return keyed_hash(f"published for {kind} {key}", secret).encode()


def published_consumers(settings: Settings) -> list[tuple[str, str]]:
    """Kind and key of everybody who has a file, from the files themselves."""
    found = []
    for file in sorted(settings.published_for_dir.glob(f"*/*/{DATABASE}")):
        with open_engine(settings) as connection:
            attach(connection, file.resolve(), "published")
            found += connection.execute(
                "select consumer_kind, consumer_key from published._meta.publication"
            ).fetchall()
    return found


def remove_consumers_files(settings: Settings) -> list[str]:
    """Remove every consumer's files, so that they are made anew; returns whose, as folders under `published_for`."""
    for snapshots in list(settings.published_for_dir.glob("*/*/snapshots")):
        folder = snapshots.parent
        if not folder.name.startswith(_REMOVED):  # out of the readers' sight first, as a whole
            folder.rename(folder.with_name(_REMOVED + folder.name))
    removed = sorted(settings.published_for_dir.glob(f"*/{_REMOVED}*"))
    for doomed in removed:
        shutil.rmtree(doomed)
    return [f"{doomed.parent.name}/{doomed.name.removeprefix(_REMOVED)}" for doomed in removed]


def _copy(connection: duckdb.DuckDBPyConnection, table: Table, rule: Rule) -> None:
    types = {column.name: column.data_type for column in table.columns}
    replaced = [f"null::{types[name]} as {identifier(name)}" for name in rule.emptied if name in types]
    is_own = "rows.program_key is null or rows.program_key in (from scope_program_key)"
    replaced += [f"case when {is_own} then rows.{x} end as {x}" for x in map(identifier, rule.emptied_of_others)]
    columns = f"rows.* replace ({', '.join(replaced)})" if replaced else "rows.*"
    relation = f"(select {columns} from {qualified(table.full_name, 'published')} as rows where {rule.condition})"
    copy_table(connection, table, under_pseudonyms(table, relation))


def _check(connection: duckdb.DuckDBPyConnection, consumer: Consumer, tables: Sequence[Table]) -> None:
    """Look at what was written, without the rules that wrote it.

    Raises:
        PublishError: a learner, program or organization of somebody else is in it.
    """
    people = "select learner_key from scope_membership" if consumer.kind == "organization" else "from scope_learner_key"
    connection.execute(
        "create or replace temporary table scope_other_key as "
        f"select other_key from pseudonyms where learner_key in ({people})"
    )
    strangers = [
        x for table in tables for x in find_strangers(connection, table, qualified(table.full_name, "snapshot"))
    ]
    if strangers:
        raise PublishError(f"Rows of others would be in the file of {consumer}: {', '.join(strangers)}")


def _counts(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> dict[str, int]:
    return {
        table.full_name: connection.execute(
            f"select count(*) from {qualified(table.full_name, 'snapshot')}"
        ).fetchall()[0][0]
        for table in tables
    }


def _write_meta(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], consumer: Consumer, snapshot_id: str, origin: str
) -> None:
    described = connection.execute("from published._meta.publication")
    names = [name for name, *_ in described.description]
    values = dict(zip(names, described.fetchall()[0], strict=True))
    sources = connection.execute(
        "select source, contract, first_event_on, last_event_on from published._meta.sources "
        "where source in (from scope_source)"
    ).fetchall()
    write_meta(
        connection,
        "snapshot",
        tables,
        snapshot_id=snapshot_id,
        published_at=clock.now_as_stored(),
        sources=[SourceInfo(*source) for source in sources],
        versions={name.removesuffix("_version"): values[name] for name in names if name.endswith("_version")},
        uncounted=HISTORY,
        about={
            "consumer_kind": (consumer.kind, "Whose file this is: program, university or organization"),
            "consumer_key": (consumer.key, "Its key; of a university the source and its name"),
            "from_snapshot_id": (origin, "Published snapshot that the rows come from"),
        },
        tables_of_keys={
            reference.rpartition(".")[2]: reference.rpartition(".")[0]
            for (reference,) in connection.execute(
                "select distinct refers_to from published._meta.columns where refers_to is not null"
            ).fetchall()
        },
    )


def publish_consumer(
    settings: Settings,
    contracts: Iterable[Contract],
    kind: Kind,
    wanted: str,
    *,
    run_id: str,
    make_page: Callable[[OwnTables], str] | None = None,
    on_progress: Callable[[str], None] = lambda message: None,
) -> ConsumerPublication:
    """Publish the file of one consumer, once no other run writes; `make_page` as in `publish_for`.

    Raises:
        StoreError: as `publish_for`; or a learner of the published snapshot is waiting to be erased.
    """
    with WriteLock(settings, run_id=run_id, what="make publish-for", on_wait=on_progress):
        erasures = Erasures(settings)
        if waiting := erasures.at("asked", "unloaded", "unbuilt"):
            raise PublishError(
                f"{len(waiting)} learners who asked for erasure are in the published snapshot still. Run their sources "
                f"first ({', '.join(sorted({x.source for x in waiting}))}), then publish the file again"
            )
        return publish_for(
            settings,
            kind,
            wanted,
            key=erasures.key,
            identities=identity_files(contracts, settings),
            make_page=make_page,
            on_progress=on_progress,
        )
