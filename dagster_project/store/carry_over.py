"""What a publication takes from the snapshot before instead of making it again: tables in which nothing has changed.

The new file begins as a copy of the earlier one. Large tables get the rows that changed (`changed_rows.py`), all others
are dropped and written anew; Parquet files of what stays are links to the same bytes (`parquet.py`). The earlier file
itself is never opened for writing.
"""

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb

from dagster_project.base.engine import attach, one_row, open_engine
from dagster_project.base.errors import PublishError, StoreError, WarehouseBusyError
from dagster_project.base.keyed_hash import LENGTH, keyed_hash
from dagster_project.base.sql import identifier, qualified
from dagster_project.settings import Settings
from dagster_project.store.changed_rows import LEAST_ROWS
from dagster_project.store.erasure import ErasedLearners
from dagster_project.store.meta import Known, Table, find_tables, read_known
from dagster_project.store.pseudonyms import needs_everybody

GROWTH = 1.3
"""How many times as large as when it was last written whole a file may become: blocks of dropped tables stay in it."""

Copied = TypeVar("Copied")


@dataclass(frozen=True)
class Marks:
    """What a snapshot depends on beside the rows of the build database, as hashes; `_meta.publication` has them.

    Those of secrets and of people are keyed, so that they tell whether something changed and nothing else.
    """

    pseudonyms_hash: str | None
    erasures_hash: str | None
    identities_hash: str | None
    code_hash: str

    def columns(self) -> dict[str, tuple[str | int | None, str]]:
        """Columns of `_meta.publication`: name → (value, description)."""
        texts = {
            "pseudonyms_hash": "Tells the publication keys of two snapshots apart; null: the inner pseudonyms",
            "erasures_hash": "Changes when another learner was erased; null: nobody",
            "identities_hash": "Changes with the identifiers that it was searched for; null: without a key",
            "code_hash": "Changes with the code that publishes",
        }
        return {name: (value, texts[name]) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Previous:
    """The published snapshot before this one, from which tables may be carried over.

    Attributes:
        whole_bytes: size of its file, or of the one that it goes back to, when all of that was written.
    """

    database: Path
    tables: Mapping[str, Table]
    known: Mapping[str, Known]
    identities_hash: str | None
    whole_bytes: int

    def unchanged(
        self,
        tables: Sequence[Table],
        data_versions: Mapping[str, str | None],
        made: Collection[str],
        private: Collection[str],
        renamed: bool,
    ) -> dict[str, Known]:
        """Which of these tables of the build database need not be copied, and what is known of them.

        None where a table or column of the snapshot has become private: its values would stay in the file's blocks.

        Args:
            made: tables whose rows may be others though their version is the same.
            private: tables that may not be published.
            renamed: learners get other pseudonyms.
        """
        if not self.tables.keys().isdisjoint(private) or any(self._loses_columns(table) for table in tables):
            return {}
        return {
            name: known
            for table in tables
            if (known := self.known.get(name := table.full_name))
            and name not in made
            and known.data_version is not None
            and known.data_version == data_versions.get(name)
            and self._is_same(table)
            and not (renamed and needs_everybody(table))
        }

    def continued(self, tables: Sequence[Table], carried: Collection[str]) -> set[str]:
        """Which of these tables, where some are carried over, are large enough to be searched for rows that changed."""
        return {
            name
            for table in tables
            if carried
            and (name := table.full_name) not in carried
            and (known := self.known.get(name))
            and known.data_version is not None
            and known.row_count >= LEAST_ROWS
            and self._is_same(table)
        }

    def is_searched_for(self, marks: Marks) -> bool:
        """Whether its texts were searched for the same identifiers."""
        return self.identities_hash is not None and self.identities_hash == marks.identities_hash

    def _is_same(self, table: Table) -> bool:
        return self.tables.get(table.full_name) == _as_published(table)

    def _loses_columns(self, table: Table) -> bool:
        earlier = self.tables.get(table.full_name, table)
        return not {x.name for x in earlier.columns} <= {x.name for x in table.columns}


def make_marks(settings: Settings, erased: ErasedLearners | None, identities: Mapping[Path, Iterable[str]]) -> Marks:
    """The marks of a publication with these arguments, see `publish`."""
    pseudonyms = erasures = searched = None
    if settings.publication_key is not None:
        pseudonyms = keyed_hash("publication key", settings.publication_key.get_secret_value().encode())
    if erased and erased.tombstones:
        erasures = keyed_hash(f"erased {' '.join(sorted(set(erased.tombstones)))}", erased.key)
    if (key := _inner_key(settings)) is not None:
        files = sorted(f"{_hash_of([path])} {','.join(columns)}" for path, columns in identities.items())
        searched = keyed_hash("\n".join(["identities", *files]), key)
    code = _hash_of(sorted(Path(__file__).parent.glob("*.py")))[:LENGTH]
    return Marks(pseudonyms, erasures, searched, code)


def find_previous(
    settings: Settings,
    database: Path,
    marks: Marks,
    schemas: Sequence[str],
    storage_version: str,
    on_progress: Callable[[str], None],
) -> Previous | None:
    """The published snapshot, if its tables may be carried over into one with these marks; else says why not.

    Args:
        database: the published file.
        schemas: those that are published.
    """
    try:
        database = database.resolve(strict=True)
        with open_engine(settings) as connection:
            attach(connection, database, "previous")
            (version,) = one_row(
                connection, "select tags['storage_version'] from duckdb_databases() where database_name = 'previous'"
            )
            row = connection.execute("from previous._meta.publication")
            names = [name for name, *_ in row.description]
            (values,) = row.fetchall()
            told = dict(zip(names, values, strict=True))
            reason = _why_not(told, marks, version == f"{storage_version}+")
            if reason is None:
                tables = {table.full_name: table for table in find_tables(connection, "previous", schemas)}
                known = read_known(connection, "previous")
                return Previous(database, tables, known, told["identities_hash"], told["whole_bytes"])
    except FileNotFoundError:
        reason = "nothing is published yet"
    except (StoreError, duckdb.Error, OSError, ValueError) as error:
        reason = f"the published snapshot cannot be read, or knows no versions of its tables ({error})"
    on_progress(f"All tables are copied: {reason}")
    return None


def carry_or_copy(
    copy: Callable[[Previous | None], tuple[Copied, Collection[str]]],
    database: Path,
    previous: Previous | None,
    on_progress: Callable[[str], None],
) -> tuple[Copied, Collection[str]]:
    """Write the new file from the previous one or, where that fails or makes too large a file, whole.

    Args:
        copy: writes the new file; returns what it likes and which tables it carried over.
    """
    if previous is not None:
        try:
            copied, carried = copy(previous)
            size, limit = database.stat().st_size, GROWTH * previous.whole_bytes
            if not carried or size <= limit:
                return copied, carried
            reason = f"the file has {size:,} bytes, more than {GROWTH} times the {previous.whole_bytes:,} it had whole"
        except (PublishError, WarehouseBusyError):
            raise
        except (StoreError, duckdb.Error, OSError) as error:
            reason = f"the published file cannot be continued ({error})"
        on_progress(f"All tables are copied: {reason}")
        for path in (database, database.with_name(f"{database.name}.wal")):
            path.unlink(missing_ok=True)
    return copy(None)


def continue_file(
    connection: duckdb.DuckDBPyConnection, previous: Previous, database: Path, kept: Collection[str]
) -> None:
    """Attach a copy of the previous file as `snapshot`, in which nothing is left but the tables that are kept."""
    shutil.copyfile(previous.database, database)
    database.chmod(database.stat().st_mode | 0o600)  # the previous one is read-only
    attach(connection, database, "snapshot", "read_write")
    connection.execute("drop schema snapshot._meta cascade")
    for name in previous.tables.keys() - set(kept):
        connection.execute(f"drop table {qualified(name, 'snapshot')}")
    schemas = {previous.tables[name].schema for name in kept}
    for schema in {table.schema for table in previous.tables.values()} - schemas:
        connection.execute(f"drop schema snapshot.{identifier(schema)}")
    # Only now are the blocks of what was dropped free for what comes.
    connection.execute("checkpoint snapshot")


def _why_not(told: Mapping[str, object], marks: Marks, is_same_storage: bool) -> str | None:
    """Why no table of a snapshot may be carried over, from its row of `_meta.publication`; None: they may."""
    same = {
        "DuckDB's version": is_same_storage and told["duckdb_version"] == duckdb.__version__,
        "the publication key": told["pseudonyms_hash"] == marks.pseudonyms_hash,
        "the list of erased learners": told["erasures_hash"] == marks.erasures_hash,
        "the code that publishes": told["code_hash"] == marks.code_hash,
    }
    changed = [what for what, is_same in same.items() if not is_same]
    return f"{' and '.join(changed)} changed since the published snapshot" if changed else None


def _as_published(table: Table) -> Table:
    """A table of the build database as it stands in a snapshot: an empty comment is none."""
    columns = tuple(replace(column, description=column.description or None) for column in table.columns)
    return replace(table, description=table.description or None, columns=columns)


def _inner_key(settings: Settings) -> bytes | None:
    """Key of the pseudonyms; None where nothing has needed one yet."""
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key.get_secret_value().encode()
    file = settings.generated_key_file
    return file.read_bytes().strip() if file.exists() else None


def _hash_of(paths: Iterable[Path]) -> str:
    hashed = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    return hashed.hexdigest()
