"""Learners who are to be forgotten, and their removal from what the loader keeps.

That is raw, the identity store, quarantine and landing files. The stages of an erasure: `privacy/erasure/stages.py`.
"""

import mmap
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb

from dagster_project.base import clock
from dagster_project.base.engine import open_engine
from dagster_project.base.files import replaced
from dagster_project.base.keyed_hash import keyed_hash, keyed_hash_sql, set_key
from dagster_project.base.sql import identifier, literal
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import identity, json_records, json_values, landing, quarantine, sql
from dagster_project.ingest.columns import called_in
from dagster_project.ingest.encodings import UTF_8, from_utf8, write_as_utf8
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.packing import Packing, packed
from dagster_project.ingest.recognition import Erased, texts_sql, usual_form
from dagster_project.ingest.records import BrokenFile, Splitter, read_header
from dagster_project.ingest.requests import Erasure, ErasureError, Erasures, learner_keys, tombstone
from dagster_project.ingest.swap import finish_interrupted, only_loader
from dagster_project.settings import Settings

OUR_COPIES = ".erasing"
"""Ending of the hidden copies that stand beside a landing file while it is replaced: one that no sender's file has."""


def request_erasure(
    settings: Settings,
    contract: Contract,
    source: str,
    *,
    learner_id: str | None = None,
    learner_key: str | None = None,
    is_kept: Callable[[str], bool] = lambda hashed: False,
) -> Erasure:
    """Write the tombstone of a learner. The next run of the source removes them; until it has published, repeat it.

    Args:
        learner_id: the id that the source's own files have for them; or
        learner_key: their key in the tables of the warehouse.
        is_kept: whether tables that keep earlier rows hold a learner with this tombstone, of whom raw may know no more.

    Returns:
        The request; an earlier one, if they were erased before.

    Raises:
        ErasureError: no table of the source holds them.
    """
    erasures = Erasures(settings)
    candidates = [learner_key] if learner_key else learner_keys(contract, source, learner_id or "", erasures.key)
    hashes = [tombstone(candidate, erasures.key) for candidate in candidates]
    for erasure in erasures.at(source=source):
        if erasure.tombstone in hashes:
            return erasure
    with open_engine(settings) as connection:
        set_key(connection, erasures.key)
        for candidate, hashed in zip(candidates, hashes, strict=True):
            person = candidate.removeprefix(f"{source}:")
            files = (_raw_files(connection, contract, table, source, [person], settings) for table in contract.tables)
            if any(files) or is_kept(hashed):
                now = clock.now().isoformat(timespec="seconds")
                asked = Erasure(secrets.token_hex(6), source, hashed, now)
                if learner_id and "@" in learner_id:  # an address is written in any case, also where it is the id
                    asked = replace(asked, identifiers=(tombstone(f"{source}:{usual_form(learner_id)}", erasures.key),))
                return erasures.save(asked)
    raise ErasureError(
        f"No learner of source {source} has that {'key' if learner_key else 'id'}: looked in "
        f"{', '.join(table.name for table in contract.tables if table.person_columns)} of {settings.raw_dir}, and in "
        "what is kept of earlier deliveries. "
        + (
            "The key is the one of core.dim_learner, with the source's name in front"
            if learner_key
            else "Give the id as the source's own files write it, not a pseudonym or an e-mail address"
        )
    )


def unload(contract: Contract, source: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Remove the learners of a source who asked for it from raw, the identity store and both quarantines.

    Call it before `load_table`, for which it waits. Costs a look at a small file when nobody asked. What a kill
    interrupts is done by the next call.
    """
    erasures = Erasures(settings)
    if not erasures.at("asked", source=source):
        return
    with only_loader(settings), open_engine(settings) as connection:
        finish_interrupted(Ledger(settings), settings)  # what still moves into place would bring rows back
        set_key(connection, erasures.key)
        asked = erasures.at("asked", source=source)
        people = _people(connection, contract, source, settings, asked)
        for erasure in asked:
            person = people.get(erasure.tombstone, [])
            # Counted before anything goes: what a kill interrupts is not counted again.
            if not erasure.removed:
                known = _identifiers(connection, contract, source, person, settings)
                hashes = {tombstone(f"{source}:{usual_form(x)}", erasures.key) for x in known}
                erasure = replace(erasure, identifiers=tuple(sorted(hashes.union(erasure.identifiers))))
                erased = Erased.among([erasure], source, erasures.key)
                removed = _counts(connection, contract, source, person, settings, erased)
                erasure = erasures.save(replace(erasure, removed=removed))
            erased = Erased.among([erasure], source, erasures.key)
            for table in (*contract.tables, None):
                _clean_quarantine(contract, table, source, settings, erased)
            for table in contract.tables:
                _clean_raw(connection, contract, table, source, person, settings)
            for table in contract.tables:
                for path, _ in _identity_files(connection, contract, table, source, person, settings):
                    _rewrite(connection, path, table, person, settings)
            now = clock.now_as_stored().isoformat(timespec="seconds")
            erasures.save(replace(erasure, stage="unloaded", unloaded_at=now))
            say(f"erasure {erasure.receipt}: {sum(erasure.removed.values()):,} rows removed from what was loaded")


def note_landing_files(
    contract: Contract, source: str, landing_place: Path, learner_id: str, erasure: Erasure, settings: Settings
) -> Erasure:
    """List the landing files that hold a learner and, when the setting `erase_from_landing` says so, clean them.

    A file that cannot be read or replaced stops nothing: it is among the `troubled` ones of the request.

    Returns:
        The request, with the names of the files. Archives are listed and left alone.
    """
    ids = (learner_id, identity.as_given(keyed_hash(learner_id, Erasures(settings).key)))
    found, rewritten, troubled = [], set(erasure.rewritten), {}
    folder = settings.temp_dir / "_erasure"
    shutil.rmtree(folder, ignore_errors=True)  # copies of an earlier attempt that was killed
    identity.owner_only(folder, settings.temp_dir)
    try:
        for table in contract.tables if landing_place.exists() else ():
            try:
                files = landing.find_files(table, landing_place, settings)
            except landing.LandingError as error:
                troubled[f"files of table {table.name}"] = str(error)
                continue
            for file in files:
                try:
                    _remove_left_copies(file.container)
                    with landing.content_of(file, folder, settings) as content:
                        if not _holds(content.path, file, table, ids, settings, folder):
                            continue
                        found.append(file.name)
                        if settings.erase_from_landing and file.member is None:
                            _clean_landing_file(file, content.path, table, contract, ids, settings, folder)
                            rewritten.add(file.name)
                except (BrokenFile, landing.LandingError) as error:
                    troubled[file.name] = str(error)
                except OSError as error:
                    troubled[file.name] = f"the system says {error.strerror or type(error).__name__}"
                except duckdb.Error as error:  # its words may hold values of rows
                    troubled[file.name] = f"the engine cannot read it ({type(error).__name__})"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    files = tuple(sorted({*found, *erasure.landing}))
    return Erasures(settings).save(
        replace(erasure, landing=files, rewritten=tuple(sorted(rewritten)), troubled=dict(sorted(troubled.items())))
    )


# --- raw and the identity store


def _people(
    connection: duckdb.DuckDBPyConnection, contract: Contract, source: str, settings: Settings, asked: list[Erasure]
) -> dict[str, list[str]]:
    """Ids in raw by tombstone; [] of those who are gone already."""
    found: dict[str, list[str]] = {}
    tombstones = texts_sql(erasure.tombstone for erasure in asked)
    for table in contract.tables:
        folders = (_raw_folder(contract, table, source, settings), _identity_folder(contract, table, source, settings))
        for folder in folders:
            for column in table.person_columns if any(folder.rglob("*.parquet")) else ():
                ids = f"select distinct cast({identifier(column.name)} as varchar) as id from {_all_files(folder)}"
                hashed = keyed_hash_sql(f"{literal(source + ':')} || id")
                query = f"select id, hash from (select id, {hashed} as hash from ({ids})) where hash in ({tombstones})"
                for person, hash_ in connection.execute(query).fetchall():
                    if person not in found.setdefault(hash_, []):
                        found[hash_].append(person)
    return found


def _raw_folder(contract: Contract, table: Table, source: str, settings: Settings) -> Path:
    return settings.raw_dir / contract.name / table.name / f"source={source}"


def _identity_folder(contract: Contract, table: Table, source: str, settings: Settings) -> Path:
    return settings.identity_dir / contract.name / table.name / f"source={source}"


def _all_files(folder: Path) -> str:
    return f"read_parquet({literal(folder / '**' / '*.parquet')}, filename = true, hive_partitioning = false)"


def _is_theirs(columns: Iterable, person: list[str]) -> str:
    conditions = [
        f"coalesce({identifier(column.name)} in ({_literals(column.data_type, person)}), false)" for column in columns
    ]
    return " or ".join(conditions) or "false"


def _literals(data_type: str, person: list[str]) -> str:
    if data_type == "varchar":
        return texts_sql(person)
    return ", ".join(f"try_cast({literal(text)} as {data_type})" for text in person)


def _files_with(
    connection: duckdb.DuckDBPyConnection, folder: Path, columns: Sequence, person: list[str]
) -> list[tuple[Path, int]]:
    """Files below a folder that hold a person, and how many rows."""
    if not (columns and person and any(folder.rglob("*.parquet"))):
        return []
    query = f"select filename, count(*) from {_all_files(folder)} where {_is_theirs(columns, person)} group by filename"
    return [(Path(name), count) for name, count in connection.execute(query + " order by filename").fetchall()]


def _raw_files(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> list[tuple[Path, int]]:
    return _files_with(connection, _raw_folder(contract, table, source, settings), table.person_columns, person)


def _identity_files(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> list[tuple[Path, int]]:
    if not table.has_direct:
        return []
    return _files_with(connection, _identity_folder(contract, table, source, settings), table.pseudonym_columns, person)


def _counts(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    source: str,
    person: list[str],
    settings: Settings,
    erased: Erased,
) -> dict[str, int]:
    counts = {}
    for table in contract.tables:
        counts[f"raw.{table.name}"] = sum(
            n for _, n in _raw_files(connection, contract, table, source, person, settings)
        )
        counts[f"identity.{table.name}"] = sum(
            n for _, n in _identity_files(connection, contract, table, source, person, settings)
        )
        counts[f"quarantine.{table.name}"] = sum(
            sum(erased.is_in(row["raw_bytes"]) for row in rows)
            for _, rows in _refused_rows(contract, table, source, settings)
        )
    return {place: count for place, count in counts.items() if count}


def _clean_raw(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> None:
    ledger = Ledger(settings)
    files = [path for path, _ in _raw_files(connection, contract, table, source, person, settings)]
    days = {
        path.parent.name.removeprefix("event_date=") for path in files if path.parent.name.startswith("event_date=")
    }
    ledger.mark(contract.name, table.name, source, [date.fromisoformat(day) for day in sorted(days)])
    for path in files:
        _rewrite(connection, path, table, person, settings)
    folder = _raw_folder(contract, table, source, settings)
    rows = {}
    if any(folder.rglob("*.parquet")):
        pattern = literal(folder / "**" / "*.parquet")
        query = f"select file_name, num_rows from parquet_file_metadata({pattern})"
        for name, count in connection.execute(query).fetchall():
            rows[Path(name).stem] = rows.get(Path(name).stem, 0) + count
    ledger.recount(contract.name, table.name, source, rows, _refused_counts(contract, table, source, settings))


def _rewrite(
    connection: duckdb.DuckDBPyConnection, path: Path, table: Table, person: list[str], settings: Settings
) -> None:
    """Replaces a Parquet file by one without the person; an event day that is empty then goes."""
    is_identity = settings.identity_dir in path.parents
    columns = table.pseudonym_columns if is_identity else table.person_columns
    rest = f"select * from read_parquet({literal(path)}, hive_partitioning = false)"
    rest += f" where not ({_is_theirs(columns, person)})"
    with replaced(path, mode=0o600 if is_identity else None) as incoming:
        ((left,),) = connection.execute(sql.copy_to_parquet(rest, incoming)).fetchall()
    if not left and path.parent.name.startswith("event_date="):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _identifiers(
    connection: duckdb.DuckDBPyConnection, contract: Contract, source: str, person: list[str], settings: Settings
) -> set[str]:
    """Direct identifiers of a person; what is shorter than a name would be found everywhere."""
    found: set[str] = set()
    for table in contract.tables:
        for path, _ in _identity_files(connection, contract, table, source, person, settings):
            for column in table.direct_columns:
                values = connection.execute(
                    f"select distinct cast({identifier(column.name)} as varchar) from read_parquet({literal(path)}) "
                    f"where {_is_theirs(table.pseudonym_columns, person)}"
                ).fetchall()
                found.update(value.strip() for (value,) in values if value and len(value) > 4)
    return found


# --- landing files


def _holds(
    path: Path, file: landing.LandingFile, table: Table, ids: Sequence[str], settings: Settings, folder: Path
) -> bool:
    if file.format == "parquet":
        with open_engine(settings, folder / "spill") as connection:
            condition = _is_id(path, table, ids, connection)
            query = f"select count(*) from read_parquet({literal(path)}) where {condition}"
            return connection.execute(query).fetchall()[0][0] > 0
    if not path.stat().st_size:
        return False
    written = (text for id_ in ids for text in (id_, id_.replace('"', '""'), id_.replace('"', '\\"')))
    if table.form.json:
        written = (text for id_ in ids for text in json_values.written_forms(id_))
    encoded = (text.encode(table.form.encoding, "ignore") for text in dict.fromkeys(written))
    words = b"|".join(re.escape(text) for text in encoded if text)
    pattern = re.compile(rb"(?<![\w.@+-])(?:" + words + rb")(?![\w.@+-])")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None


def _is_id(path: Path, table: Table, ids: Sequence[str], connection: duckdb.DuckDBPyConnection) -> str:
    described = connection.execute(f"describe from read_parquet({literal(path)})").fetchall()
    names = [name for name, *_ in described]
    called = called_in(table, names)
    there = [called[column.name] for column in table.person_columns if called[column.name] in names]
    conditions = [f"coalesce(cast({identifier(name)} as varchar) in ({texts_sql(ids)}), false)" for name in there]
    return " or ".join(conditions) or "false"


def _clean_landing_file(
    file: landing.LandingFile,
    content: Path,
    table: Table,
    contract: Contract,
    ids: Sequence[str],
    settings: Settings,
    folder: Path,
) -> None:
    """Replaces a landing file by one without the learner's records; all others keep their exact bytes (of text).

    Args:
        content: its uncompressed bytes.
        folder: of the warehouse, where its owner only may read.
    """
    rest = folder / "rest"
    rest.unlink(missing_ok=True)
    if file.format == "parquet":
        with open_engine(settings, folder / "spill") as connection:
            condition = _is_id(content, table, ids, connection)
            rows = f"select * from read_parquet({literal(content)}) where not ({condition})"
            connection.execute(f"copy ({rows}) to {literal(rest)} (format parquet)").fetchall()
        if file.packing:
            with rest.open("rb") as plain, packed(folder / "packed", file.packing) as out:
                shutil.copyfileobj(plain, out)
            (folder / "packed").replace(rest)
    else:
        _write_rest(content, rest, file.packing, table, ids, folder)
    _replace(file.container, rest)


def _write_rest(
    content: Path, rest: Path, packing: Packing | None, table: Table, ids: Sequence[str], folder: Path
) -> None:
    """Writes a file of text or JSON without the learner's records."""
    encoding = table.form.encoding
    if encoding != UTF_8:
        write_as_utf8(content, encoding, text := folder / "utf8")
        content = text
    if table.form.json:
        splitter = json_records.splitter_of(table.form.json)
        before, between, after = splitter.around(content)
        kept = (x for x in splitter.records(content) if not json_values.is_of(x, splitter, table, ids))
    else:
        fields = Splitter(table.form.dialect, read_header(content, table.form.dialect))
        with content.open("rb") as stream:
            before, between, after = stream.read(fields.header.start), b"", b""
        kept = (x for x in fields.records(content) if not _is_record_of(x, fields, table, ids))
    with packed(rest, packing) as out:
        out.write(from_utf8(before, encoding))
        for number, record in enumerate(kept):
            out.write(from_utf8(between + record if number else record, encoding))
        out.write(from_utf8(after, encoding))


def _is_record_of(record: bytes, splitter: Splitter, table: Table, ids: Sequence[str]) -> bool:
    """Whether a record is the learner's: by the columns of people or, where it has not its fields, by any of them."""
    fields = [_unquoted(text, splitter) for text in splitter.fields(record)]
    if set(ids).isdisjoint(fields):
        return False
    names = splitter.header.names or tuple(column.name for column in table.columns)
    called = called_in(table, names)
    people = {called[column.name] for column in table.person_columns}
    if len(fields) != splitter.header.fields or len(names) != len(fields) or not people.intersection(names):
        return True
    return not set(ids).isdisjoint(text for name, text in zip(names, fields, strict=True) if name in people)


def _unquoted(text: bytes, splitter: Splitter) -> str:
    quote = splitter.dialect.quote
    plain = text.decode(errors="replace")
    return plain.replace((splitter.dialect.escape or quote) + quote, quote) if quote else plain


def _replace(original: Path, fresh: Path) -> None:
    """Replaces a landing file at once by one of the warehouse's folder, which may be of another file system."""
    status = original.stat()
    with replaced(original, mode=status.st_mode & 0o7777, synced=True, ending=OUR_COPIES) as beside:
        with fresh.open("rb") as stream, beside.open("wb") as out:
            shutil.copyfileobj(stream, out)
        with suppress(PermissionError):
            os.chown(beside, status.st_uid, status.st_gid)


def _remove_left_copies(container: Path) -> None:
    """Removes what an attempt that was killed left beside a landing file: whole copies of it."""
    for ending in (OUR_COPIES, ".plain"):
        container.with_name(f".{container.name}{ending}").unlink(missing_ok=True)


# --- quarantine


def _refused_rows(
    contract: Contract, table: Table, source: str, settings: Settings
) -> Iterable[tuple[Path, list[dict]]]:
    import pyarrow.parquet as pq

    for path in sorted(quarantine.rows_folder(contract, table, source, settings).glob("*.parquet")):
        yield path, pq.read_table(path).to_pylist()


def _refused_counts(contract: Contract, table: Table, source: str, settings: Settings) -> dict[str, int]:
    return {path.stem: len(rows) for path, rows in _refused_rows(contract, table, source, settings)}


def _clean_quarantine(contract: Contract, table: Table | None, source: str, settings: Settings, erased: Erased) -> None:
    """Removes refused rows with the learner's id or identifiers in them, and masks these in files refused whole.

    What cannot be searched (a damaged archive) goes: it is a copy, and the original lies in the landing place.
    """
    for path, rows in _refused_rows(contract, table, source, settings) if table else ():
        kept = [row for row in rows if not erased.is_in(row["raw_bytes"])]
        if len(kept) == len(rows):
            continue
        if not kept:
            path.unlink()
            continue
        values = ((row["record"], row["reason"], row["raw_bytes"]) for row in kept)
        with replaced(path, mode=path.stat().st_mode & 0o7777) as incoming:
            quarantine.write_rows(values, rows[0]["file"], incoming, settings)
    for path in sorted(quarantine.files_folder(contract, table, source, settings).glob("*")):
        quarantine.mask_file(path, erased.masked)
