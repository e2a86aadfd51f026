"""Write, audit, publish: the build database's public tables become a snapshot that people read.

published/
    learning_warehouse.duckdb, learning_warehouse_groups.duckdb, parquet, reports, call_lists
                                                    stable paths: links through `current`
    current -> snapshots/<id>                       the one link that a publication swaps
    snapshots/<id>/learning_warehouse.duckdb        every public table, and _meta: for its owner
    snapshots/<id>/learning_warehouse_groups.duckdb the tables that tell of no single learner: for everybody else
    snapshots/<id>/parquet/<schema>/<table>.parquet the same tables; of a large one a folder of years or months
    snapshots/<id>/reports/                         the pages of the same run
    snapshots/<id>/call_lists/                      the pages of single learners, and what changed in them by day
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import duckdb

from dagster_project.base import clock
from dagster_project.base.engine import attach, one_row, open_engine, transaction
from dagster_project.base.errors import (
    PublishDiskError,
    PublishedIdentifierError,
    PublishError,
    StoreError,
    WarehouseBusyError,
)
from dagster_project.base.files import sync
from dagster_project.base.sql import identifier, literal, qualified, write_comments
from dagster_project.contracts.tables import MODELS, find_direct_identifiers, find_unpublished
from dagster_project.settings import Settings
from dagster_project.store.carry_over import (
    Marks,
    Previous,
    carry_or_copy,
    continue_file,
    find_previous,
    make_marks,
)
from dagster_project.store.changed_rows import Changed, replace_changed_rows
from dagster_project.store.compare import compare_databases
from dagster_project.store.erasure import ErasedLearners, check_nobody_erased, names_erased
from dagster_project.store.identifiers import Found, load_identifiers, search_columns, text_columns
from dagster_project.store.meta import SourceInfo, Table, find_tables, write_meta
from dagster_project.store.parquet import Earlier, export_parquet, part_of_row
from dagster_project.store.pseudonyms import learner_keys, make_pseudonyms, rewrite_texts, under_pseudonyms

PUBLIC_SCHEMAS = ("core", "marts", "analytics", "reporting", "learners", "ops")
GROUP_SCHEMAS = ("reporting", "ops")
"""Schemas of the second file, without rows of single learners. A file of DuckDB knows no roles."""
HISTORY = "ops"
"""Schema of the history of runs: published, but it gains rows with every run, so that it is never compared."""
COMPARED_SCHEMAS = tuple(schema for schema in PUBLIC_SCHEMAS if schema != HISTORY)
DATABASE = "learning_warehouse.duckdb"
GROUPS_DATABASE = "learning_warehouse_groups.duckdb"
CALL_LISTS = "call_lists"
STORAGE_VERSION = "v1.2.0"

WALL_CLOCK_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "_meta.publication": (
        "snapshot_id",
        "published_at",
        "erasures_hash",
        "identities_hash",
        "code_hash",
        "whole_bytes",
    ),
    "_meta.tables": ("data_version", "computed_at", "computed_from_snapshot"),
    "analytics.at_risk_drift": ("checked_on",),
    "analytics.at_risk_models": ("trained_at",),
    "analytics.at_risk_scores": ("scored_on", "scored_at"),
    "analytics.learner_changes": ("changed_on",),
    "core.dim_learner_history": ("valid_from", "valid_to"),
    "learners.call_list": ("listed_since_on", "scored_on", "scored_at"),
    "learners.call_list_changes": ("scored_on", "earlier_scored_on"),
    "reporting.at_risk_programs": ("scored_on",),
}
"""Columns, by table, that say when, by which run or in which way a row was made.

All that may differ between two publications of the same data; everything else must be equal, row by row. A model or an
asset that writes such a column lists it here. Those of `_meta` say how a table or the file came about, and warehouses
that were fed the same data in other ways differ in that: a table's version may hash the runs that made it, and a file
in which tables were carried over has another size than one that was written whole.
"""

SNAPSHOT_MARK = '<span class="snapshot">not published yet</span>'
"""Where a page has the id of the snapshot that it lies in; a page that no publication took keeps these words."""

_OF_A_LEARNER = re.compile(r"^(learner|grader)_(key|id)$|^submission_key$|enrollment_key$|membership_key$")
_NAMES_IN_HISTORY = {
    "run_id", "job_name", "source", "status", "snapshot_id", "problem", "step", "table_name", "check_name",
}  # fmt: skip
"""Columns of the history of runs that only hold names. Others tell in sentences what was found, and in these may stand
whatever a source calls its learners: nothing tells the id 28400 from a count."""
_SNAPSHOT_ID = re.compile(r"\d{8}T\d{9}Z[A-Za-z0-9_-]*")
_MUST_HAVE_ROWS = ("core", "marts")
Filled = TypeVar("Filled")


@dataclass(frozen=True)
class Publication:
    """A snapshot that was published."""

    snapshot_id: str
    folder: Path
    tables: Mapping[str, int]
    seconds: float
    searched: Found

    @property
    def database(self) -> Path:
        """The snapshot's DuckDB file."""
        return self.folder / DATABASE

    @property
    def row_count(self) -> int:
        """Rows of all published tables."""
        return sum(self.tables.values())


def make_snapshot_id(suffix: str = "") -> str:
    """A new id: the UTC time in milliseconds, so that snapshots sort by age; a suffix such as the run's may follow."""
    now = clock.now()
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z{suffix and '-' + suffix}"


def snapshot_time(snapshot_id: str) -> float:
    """When a snapshot's publication began, in seconds since the epoch, from its id."""
    return datetime.strptime(f"{snapshot_id[:18]}000+0000", "%Y%m%dT%H%M%S%f%z").timestamp()


def name_snapshot(page: str, snapshot_id: str) -> str:
    """A page (HTML) with the id of a snapshot where it has `SNAPSHOT_MARK`; one without it stays as it is."""
    return page.replace(SNAPSHOT_MARK, f'<span class="snapshot">snapshot <b>{snapshot_id}</b></span>')


def publish(
    settings: Settings,
    snapshot_id: str,
    *,
    sources_info: Sequence[SourceInfo],
    versions: Mapping[str, str],
    erased: ErasedLearners | None = None,
    identities: Mapping[Path, Sequence[str]] | None = None,
    models: Path = MODELS,
    data_versions: Mapping[str, str | None] | None = None,
    computed: Mapping[str, tuple[datetime, str]] | None = None,
    tables_of_keys: Mapping[str, str] | None = None,
    parts_by: Mapping[str, str] | None = None,
    unpublished: Collection[str] = (),
    made: Collection[str] = (),
    beside: Mapping[str, str] | None = None,
    on_progress: Callable[[str], None] = lambda message: None,
) -> Publication:
    """Publish the build database as a new snapshot. Call it while holding the `WriteLock`.

    Tables whose data version is that of the snapshot before are carried over from it, unless something else changed
    that concerns all of them: the publication key, who is erased, DuckDB, this code. In large ones that changed, those
    rows are replaced that are others. What was there before is searched for identifiers again only when the identity
    store has changed.

    Where the settings have a publication key, learners bear other pseudonyms in it than in the build database.

    Readers of the stable paths see the old snapshot, whole, until the last step, and then the new one, whole: also
    when the process is killed at any point. What a killed publication leaves is removed by the next one.

    Args:
        snapshot_id: from `make_snapshot_id`.
        sources_info: the sources, for `_meta.sources`.
        versions: software name → version, for `_meta.publication`; DuckDB's is added.
        erased: learners of whom no row may be published.
        identities: files of the identity store, with their columns of direct identifiers: no text column of the
            snapshot may hold one of these.
        models: the dbt models folder, whose contracts say which columns are direct identifiers and which tables of
            Python stay private.
        data_versions: "schema.table" → hash of what its rows, columns and comments were made from: tables of the same
            version must be equal in them. One without a version is always copied, and so is the history of runs.
        computed: "schema.table" → when its rows were computed (UTC without zone), and the first snapshot that had them.
        tables_of_keys: `<entity>_key` → "schema.table" that has a row for each, for `_meta.columns`.
        parts_by: "schema.table" → its column of dates or times by which the Parquet export is in parts.
        unpublished: tables of dbt that stay private.
        made: tables that were made since, by "schema.table". Their rows may be others though the version is the same,
            as those of models that are trained by the clock: they are compared or copied, and not carried over.
        beside: further files of the snapshot, name → text.

    Raises:
        PublishedIdentifierError: a column holds direct identifiers of learners; nothing was published.
        PublishError: another audit failed; nothing was published.
        PublishDiskError: the disk failed; nothing was published.
        WarehouseBusyError: the build database is open elsewhere; nothing was published.
    """
    started = time.monotonic()

    def fill(incoming: Path) -> tuple[dict[str, int], Found]:
        if erased:
            check_nobody_erased(settings, erased)
        database = incoming / DATABASE
        marks = make_marks(settings, erased, identities or {})
        known_versions = {
            name: version for name, version in (data_versions or {}).items() if not name.startswith(f"{HISTORY}.")
        }
        previous = None
        if known_versions:
            published = settings.published_dir / DATABASE
            previous = find_previous(settings, published, marks, PUBLIC_SCHEMAS, STORAGE_VERSION, on_progress)
        on_progress("Copying the public tables")

        new_texts = incoming / ".new-texts"

        def copy(origin: Previous | None) -> tuple[tuple[dict[str, int], dict[str, Changed]], Collection[str]]:
            counts, changed, carried = _copy_tables(
                settings,
                database,
                snapshot_id,
                sources_info,
                versions,
                {*find_unpublished(models), *unpublished},
                known_versions,
                made,
                computed or {},
                tables_of_keys or {},
                parts_by or {},
                marks,
                origin,
                new_texts,
            )
            return (counts, changed), carried

        (tables, changed), carried = carry_or_copy(copy, database, previous, on_progress)
        on_progress(
            f"Auditing the copy, {len(carried)} of {len(tables)} tables carried over and {len(changed)} continued, and "
            "exporting Parquet"
        )
        is_searched = previous is not None and previous.is_searched_for(marks)
        counts, searched = audit(
            settings,
            database,
            tables,
            find_direct_identifiers(models),
            identities or {},
            carried=carried,
            searched=carried if is_searched else (),
            new_texts={name: x.new_texts for name, x in changed.items()} if is_searched else {},
        )
        shutil.rmtree(new_texts, ignore_errors=True)
        earlier = None
        if previous:
            untouched = dict.fromkeys(carried, ())
            in_parts = {name: x.parts for name, x in changed.items() if x.parts is not None}
            earlier = Earlier(previous.database.parent, {**untouched, **in_parts})
        export_parquet(settings, database, counts, parts_by, earlier)
        write_groups(settings, incoming)
        _copy_pages(settings, incoming, snapshot_id, erased)
        for name, text in (beside or {}).items():
            (incoming / name).write_text(text)
        return counts, searched

    counts, searched = swap_in(settings.published_dir, snapshot_id, fill, settings.snapshots_kept)
    final = settings.published_dir / "snapshots" / snapshot_id
    publication = Publication(snapshot_id, final, counts, time.monotonic() - started, searched)
    on_progress(f"Published {publication.row_count:,} rows of {len(counts)} tables as {snapshot_id}")
    return publication


def swap_in(
    published: Path,
    snapshot_id: str,
    fill: Callable[[Path], Filled],
    kept: int,
    stable_paths: Sequence[str] = (DATABASE, GROUPS_DATABASE, "parquet", "reports", CALL_LISTS),
) -> Filled:
    """Fill the folder of a new snapshot and make it the current one of a published folder, at once.

    Args:
        published: `settings.published_dir`, or the folder of one consumer.
        fill: writes everything into the folder that it is given; what it returns is returned.
        kept: snapshots to keep, the new one included.
        stable_paths: names in a snapshot that the published folder links to.

    Raises:
        PublishedIdentifierError, PublishError, PublishDiskError, WarehouseBusyError: as `publish`.
    """
    if not _SNAPSHOT_ID.fullmatch(snapshot_id):
        raise PublishError(
            f"{snapshot_id!r} is no snapshot id: snapshots sort by their time, make_snapshot_id() gives it"
        )
    snapshots = published / "snapshots"
    current = published / "current"
    final, incoming = snapshots / snapshot_id, snapshots / f".incoming-{snapshot_id}"
    previous = current.readlink().name if current.is_symlink() else None
    if previous == snapshot_id:
        raise PublishError(f"Snapshot {snapshot_id} is published already: a publication needs a new id")
    try:
        _remove_leftovers(published)
        shutil.rmtree(final, ignore_errors=True)  # Renamed, but killed before it became the current one.
        incoming.mkdir(parents=True)
        _link_stable_paths(published, stable_paths)
        filled = fill(incoming)
        _sync_tree(incoming)
        incoming.rename(final)
        sync(snapshots)
        _swap(published, snapshot_id)
    except WarehouseBusyError:
        raise
    except (StoreError, duckdb.Error, OSError) as error:
        stays = f"snapshot {previous} is untouched and stays the published one" if previous else "there is none yet"
        # The engine tells of a full disk in the words of the system, whatever error it wraps them in.
        if isinstance(error, OSError | duckdb.IOException) or os.strerror(errno.ENOSPC) in str(error):
            raise PublishDiskError(f"Nothing was published; {stays}. The disk failed: {error}") from error
        message = f"Nothing was published; {stays}. {error}"
        if isinstance(error, PublishedIdentifierError):
            raise PublishedIdentifierError(message, error.columns) from error
        raise PublishError(message) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    _prune(snapshots, kept, never={snapshot_id, previous})
    return filled


def compare_snapshots(settings: Settings, a: Path, b: Path) -> list[str]:
    """Differences between two snapshots, as sentences: tables, columns, descriptions, and rows (as bags).

    Args:
        a, b: folders of snapshots, such as `Publication.folder` or `published/current`.

    Returns:
        Nothing when they are equal in all columns but `WALL_CLOCK_COLUMNS`. The history of runs is not compared.
    """
    schemas = (*COMPARED_SCHEMAS, "_meta")
    but_for_rows = dict.fromkeys(("_meta.tables", "_meta.columns"), f"schema_name = '{HISTORY}'")
    return compare_databases(settings, a / DATABASE, b / DATABASE, schemas, WALL_CLOCK_COLUMNS, but_for_rows)


def _copy_tables(
    settings: Settings,
    database: Path,
    snapshot_id: str,
    sources_info: Sequence[SourceInfo],
    versions: Mapping[str, str],
    private: Collection[str],
    data_versions: Mapping[str, str | None],
    made: Collection[str],
    computed: Mapping[str, tuple[datetime, str]],
    tables_of_keys: Mapping[str, str],
    parts_by: Mapping[str, str],
    marks: Marks,
    previous: Previous | None,
    new_texts: Path,
) -> tuple[dict[str, int], dict[str, Changed], Collection[str]]:
    """Write the new file.

    Returns:
        The rows that each table has in the build database, what was replaced in those that are continued, and which are
        carried over.
    """
    changed: dict[str, Changed] = {}
    with open_engine(settings) as connection:
        attach(connection, settings.build_database, "build")
        tables = [x for x in find_tables(connection, "build", PUBLIC_SCHEMAS) if x.full_name not in private]
        is_renamed = _rename_learners(connection, settings, tables)
        carried = previous.unchanged(tables, data_versions, made, private, is_renamed) if previous else {}
        continued = previous.continued(tables, carried) if previous else set()
        if previous and carried:
            continue_file(connection, previous, database, {*carried, *continued})
        else:
            attach(connection, database, "snapshot", f"storage_version '{STORAGE_VERSION}'")
        for schema in dict.fromkeys(table.schema for table in tables):
            connection.execute(f"create schema if not exists snapshot.{identifier(schema)}")
        for table in tables:
            if table.full_name in carried:
                continue
            relation = qualified(table.full_name, "build")
            query = under_pseudonyms(table, relation) if is_renamed else f"from {relation}"
            if table.full_name in continued:
                column = parts_by.get(table.full_name)
                part = part_of_row(column, _row_count(connection, relation)) if column else None
                if found := replace_changed_rows(connection, table, query, part, new_texts):
                    changed[table.full_name] = found
                    continue
                connection.execute(f"drop table {qualified(table.full_name, 'snapshot')}")
            copy_table(connection, table, query)
            if is_renamed and table.schema == HISTORY:
                _rewrite_texts(connection, table)
        whole_bytes = previous.whole_bytes if previous and carried else 0
        write_meta(
            connection,
            "snapshot",
            tables,
            snapshot_id=snapshot_id,
            published_at=clock.now_as_stored(),
            sources=sources_info,
            versions={**versions, "duckdb": duckdb.__version__},
            uncounted=HISTORY,
            about={
                **marks.columns(),
                "whole_bytes": (whole_bytes, "Bytes of the file when all of it was last written"),
            },
            data_versions=data_versions,
            computed=computed,
            known=carried,
            tables_of_keys=tables_of_keys,
        )
        counts = {table.full_name: _row_count(connection, qualified(table.full_name, "build")) for table in tables}
        connection.execute("checkpoint snapshot")
        if not whole_bytes:
            connection.execute("update snapshot._meta.publication set whole_bytes = ?", [database.stat().st_size])
            connection.execute("checkpoint snapshot")
    return counts, changed, carried.keys()


def _row_count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return one_row(connection, f"select count(*) from {relation}")[0]


def _rename_learners(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[Table]) -> bool:
    """Make the pseudonyms of the publication key, if one is set, from the attached build database."""
    if settings.publication_key is None:
        return False
    make_pseudonyms(connection, learner_keys("build", tables), settings.publication_key.get_secret_value().encode())
    return True


def _rewrite_texts(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Put other pseudonyms in the place of those that sentences of the history name."""
    name = qualified(table.full_name, "snapshot")
    for column in (identifier(x.name) for x in table.columns if x.data_type == "VARCHAR"):
        texts = connection.execute(f"select distinct {column} from {name} where {column} is not null").fetchall()
        for old, new in rewrite_texts(connection, [text for (text,) in texts]).items():
            connection.execute(f"update {name} set {column} = ? where {column} = ?", [new, old])


def copy_table(connection: duckdb.DuckDBPyConnection, table: Table, query: str, catalog: str = "snapshot") -> None:
    """Write the rows of a query into an attached database, as this table and with its comments.

    COPY FROM DATABASE would keep the comments by itself, but it takes the private schemas along.
    """
    target = qualified(table.full_name, catalog)
    with transaction(connection):
        try:
            connection.execute(f"create table {target} as {query}")
        except duckdb.Error as error:
            raise PublishError(f"{table.full_name} cannot be copied. The engine says: {error}") from error
        write_comments(connection, target, table.description, ((x.name, x.description) for x in table.columns))


def audit(
    settings: Settings,
    database: Path,
    expected: Mapping[str, int],
    direct_identifiers: Mapping[str, str],
    identities: Mapping[Path, Sequence[str]],
    must_have_rows: Collection[str] = _MUST_HAVE_ROWS,
    *,
    carried: Collection[str] = (),
    searched: Collection[str] = (),
    new_texts: Mapping[str, Path | None] | None = None,
) -> tuple[dict[str, int], Found]:
    """Open the new file as a reader would and look whether it may be shown.

    Args:
        expected: rows that each table must have.
        must_have_rows: schemas that may not be empty.
        carried: tables that come from the snapshot before.
        searched: tables in which the same identifiers were searched for before, and nothing has changed since.
        new_texts: files of what has come since to tables that were searched before too.

    Returns:
        Rows by table, with _meta's; and the result of the search for direct identifiers.

    Raises:
        PublishedIdentifierError, PublishError: with everything that is wrong.
    """
    problems = []
    identified: dict[str, int | None] = {}
    with open_engine(settings) as connection:
        attach(connection, database, "snapshot")
        tables = find_tables(connection, "snapshot", (*PUBLIC_SCHEMAS, "_meta"))
        counts = {table.full_name: _row_count(connection, qualified(table.full_name, "snapshot")) for table in tables}
        (version,) = one_row(
            connection, "select tags['storage_version'] from duckdb_databases() where database_name = 'snapshot'"
        )
        load_identifiers(connection, identities)
        columns = text_columns(connection, "snapshot")
        new = {
            qualified(name, "snapshot"): file for name, file in {**dict.fromkeys(searched), **(new_texts or {})}.items()
        }
        found = search_columns(
            connection,
            [
                (name, f"read_parquet({literal(new[relation])})" if relation in new else relation, column)
                for name, relation, column in columns
                if new.get(relation, relation) is not None
            ],
        )
        found = replace(found, earlier=len(columns) - found.columns)
    for column, count in found.hits.items():
        identified[column] = count
        problems.append(
            f"{column} holds direct identifiers of learners in {count:,} different values: find out which model or "
            "which column of a landing file they come from, and mark that column `pii` in the contract"
        )
    if version != f"{STORAGE_VERSION}+":
        problems.append(f"the file has storage version {version}, which older clients cannot read")
    for name, count in expected.items():
        if counts.get(name) != count:
            text = f"{name} has {counts.get(name, 'no')} rows in the copy, {count} in the build database"
            if name in carried:
                text += (
                    ": it was carried over, since its data version is that of the published snapshot. That is a fault "
                    "of whatever computes the version; without the link published/current every table is copied"
                )
            problems.append(text)
    for schema in must_have_rows:
        in_schema = [count for name, count in expected.items() if name.startswith(f"{schema}.")]
        if not any(in_schema):
            problems.append(f"schema {schema} has no rows in its {len(in_schema)} tables: was everything built?")
    for table in tables:
        for column in table.columns:
            if origin := direct_identifiers.get(column.name.lower()):
                identified.setdefault(f"{table.full_name}.{column.name}", None)
                problems.append(
                    f"{table.full_name}.{column.name} bears the name of a direct identifier ({origin}): it may never "
                    "be published; leave it out of the model, or rename it if it is something else"
                )
    if problems:
        message = "The audit of the new snapshot failed: " + "; ".join(problems)
        raise PublishedIdentifierError(message, identified) if identified else PublishError(message)
    return counts, found


def write_groups(settings: Settings, incoming: Path) -> None:
    """Write the second file of a snapshot from the first: schemas of groups, and what `_meta` says of them.

    Raises:
        PublishError: a table of these schemas has rows of single learners.
    """
    with open_engine(settings) as connection:
        attach(connection, incoming / DATABASE, "snapshot")
        attach(connection, incoming / GROUPS_DATABASE, "groups", f"storage_version '{STORAGE_VERSION}'")
        tables = find_tables(connection, "snapshot", (*GROUP_SCHEMAS, "_meta"))
        personal = [
            f"{table.full_name}.{column.name}"
            for table in tables
            for column in table.columns
            if table.schema != "_meta" and _OF_A_LEARNER.search(column.name)
        ]
        if personal:
            raise PublishError(
                f"{', '.join(personal)}: rows of single learners in a schema of groups, which everybody may read. Move "
                "the model to dbt/models/learners, or leave the column out"
            )
        for schema in dict.fromkeys(table.schema for table in tables):
            connection.execute(f"create schema groups.{identifier(schema)}")
        for table in tables:
            copy_table(connection, table, _of_groups(table), "groups")
        connection.execute(
            "update groups._meta.publication set "
            "table_count = (select count(*) from groups._meta.tables where schema_name != $history), "
            "row_count = (select coalesce(sum(row_count), 0) from groups._meta.tables where schema_name != $history)",
            {"history": HISTORY},
        )
        connection.execute("checkpoint groups")


def _of_groups(table: Table) -> str:
    """Query of the rows of a table of the snapshot for the second file: of the history of runs no sentences."""
    relation = f"from {qualified(table.full_name, 'snapshot')}"
    schemas = f"({', '.join(map(literal, GROUP_SCHEMAS))})"
    if table.full_name == "_meta.columns":
        here = f"case when split_part(refers_to, '.', 1) in {schemas} then refers_to end"
        return f"select * replace ({here} as refers_to) {relation} where schema_name in {schemas}"
    if table.full_name == "_meta.tables":
        return f"{relation} where schema_name in {schemas}"
    sentences = [
        identifier(column.name)
        for column in table.columns
        if table.schema == HISTORY and column.data_type == "VARCHAR" and column.name not in _NAMES_IN_HISTORY
    ]
    if not sentences:
        return relation
    return f"select * replace ({', '.join(f'null::varchar as {name}' for name in sentences)}) {relation}"


def _copy_pages(settings: Settings, incoming: Path, snapshot_id: str, erased: ErasedLearners | None) -> None:
    texts: dict[Path, str] = {}
    for origin, folder in ((settings.pages_dir, "reports"), (settings.call_lists_dir, CALL_LISTS)):
        (incoming / folder).mkdir()
        for file in (*origin.glob("*.html"), *origin.glob("*/*.csv")):
            texts[incoming / folder / file.relative_to(origin)] = file.read_text()
    if erased and (left := [file.name for file, text in texts.items() if names_erased(text, erased)]):
        raise PublishError(
            f"Learners who were erased are in {', '.join(sorted(left))}. Run the source again: it writes them anew"
        )
    if settings.publication_key is not None and texts:
        with open_engine(settings) as connection:
            attach(connection, settings.build_database, "build")
            _rename_learners(connection, settings, find_tables(connection, "build", PUBLIC_SCHEMAS))
            texts = {file: rewrite_texts(connection, [text]).get(text, text) for file, text in texts.items()}
    for file, text in texts.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(name_snapshot(text, snapshot_id))


def _sync_tree(folder: Path) -> None:
    """Everything on the disk before the name that readers follow points to it."""
    # A reader that forgets to open the database read-only would lock the others out; what writes into a Parquet file
    # would change it in every snapshot that has it. A link to an earlier one is read-only already.
    for file in (*folder.glob("*.duckdb"), *(folder / "parquet").rglob("*.parquet")):
        if (mode := file.stat().st_mode) & 0o222:
            file.chmod(mode & 0o444)
    for parent, _, files in os.walk(folder):
        for file in files:
            sync(Path(parent, file))
        sync(Path(parent))


def _link_stable_paths(published: Path, names: Sequence[str]) -> None:
    for name in names:
        link = published / name
        if link.is_symlink() and link.readlink() == Path("current", name):
            continue
        if link.exists() and not link.is_symlink():
            raise PublishError(f"{link} is in the way: it must be a link to current/{name}. Move it elsewhere")
        _replace_link(link, f"current/{name}")


def _swap(published: Path, snapshot_id: str) -> None:
    _replace_link(published / "current", f"snapshots/{snapshot_id}")
    sync(published)


def _replace_link(link: Path, target: str) -> None:
    new = link.with_name(f".new-{link.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _remove_leftovers(published: Path) -> None:
    """Remove what a killed publication left: half-made snapshots, links not yet in place, snapshots half removed."""
    for leftover in (*published.glob(".new-*"), *(published / "snapshots").glob(".*")):
        if leftover.is_symlink():
            leftover.unlink()
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _prune(snapshots: Path, kept: int, never: set[str | None]) -> None:
    """Remove the oldest snapshots until `kept` are left.

    Never the previous one: a reader may have followed the link a moment ago and not yet have opened the file. Whoever
    has a removed file open keeps it until it is closed.
    """
    names = sorted((path.name for path in snapshots.iterdir()), reverse=True)
    for name in names[kept:]:
        if name not in never:
            doomed = snapshots / f".removed-{name}"
            # Renamed first, so that no snapshot is ever seen half there. What cannot be removed now goes next time:
            # the new snapshot is published, and no reason to call that a failure.
            (snapshots / name).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
