"""One landing file made into typed Parquet and quarantine, in a folder of its own; nothing in place is touched."""

import heapq
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

import duckdb

from dagster_project.base.engine import open_engine
from dagster_project.base.keyed_hash import set_key
from dagster_project.base.sql import literal
from dagster_project.contracts.forms import JsonForm
from dagster_project.contracts.reading import ContractError
from dagster_project.contracts.source import FLOAT_TYPES, INTEGER_TYPES, Contract, Table
from dagster_project.ingest import identity, json_records, json_values, quarantine, sql
from dagster_project.ingest.columns import Positions, columns_of_text, listed, match_columns
from dagster_project.ingest.encodings import UTF_8, from_utf8, write_as_utf8
from dagster_project.ingest.json_sql import MACROS, JsonSql, lines_relation
from dagster_project.ingest.landing import Content, check_ratio
from dagster_project.ingest.recognition import Erased
from dagster_project.ingest.records import NOT_UTF8, BrokenFile, Splitter, is_blank, read_header
from dagster_project.settings import Settings

FETCHED_ROWS = 10_000
GROUP_BYTES, MINIMUM_GROUP, MAXIMUM_GROUP = 32 << 20, 2_048, 122_880
"""Bytes of landing file in a row group of what is taken out of it, and permitted rows of one: it is held in memory."""
RefusedRows = Callable[[Iterator[tuple[int, str]]], Iterator[tuple[int, str, bytes]]]
"""From (record, reason) of refused rows to these with their bytes, malformed records added."""
UNREADABLE_ERRORS = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.SerializationException,
    duckdb.IOException,
)


@dataclass(frozen=True)
class Folders:
    """Where a conversion writes.

    Attributes:
        raw: accepted rows, and their quarantine.
        identity: what only its owner may read.
        work: what is gone afterwards.
    """

    raw: Path
    identity: Path
    work: Path


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote; accepted + refused = records.

    Attributes:
        rows: path of the accepted rows by event date; of a table without events, one path under None.
        quarantine: path of the refused rows, if any.
        identities: path of the direct identifiers, if the table has such columns.
    """

    rows: dict[date | None, Path]
    quarantine: Path | None
    identities: Path | None
    records: int
    accepted: int
    refused: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """The conversion of one file.

    Args:
        contract, table: what the file should be.
        file: its logical name.
        content: its uncompressed bytes.
        key: of the pseudonyms; None for tables without personal columns.
        folders: where to write.
        settings: limits of the engine.
        erased: whose rows are passed over, as if they were not in the file; None: nobody's.
    """

    contract: Contract
    table: Table
    file: str
    content: Content
    key: bytes | None
    folders: Folders
    settings: Settings
    erased: Erased | None = None

    def converted(self, format_: Literal["csv", "parquet"]) -> Converted:
        """Converts a file that is Parquet, or else what the contract says; raises like `text`."""
        if format_ == "parquet":
            return self.parquet()
        return self.json() if self.table.form.json else self.text()

    def text(self) -> Converted:
        """Converts a text file.

        Raises:
            BrokenFile: it cannot be read as a whole, or lacks a column.
            ContractError: the contract's event date does not fit its columns.
        """
        dialect, path = self.table.form.dialect, self._as_utf8(self.content.path)
        if self.table.optional and is_blank(path):
            dialect = replace(dialect, header=True)
            path = self.folders.work / "empty.csv"
            path.write_text(dialect.delimiter.join(column.name for column in self.table.columns) + "\n")
        header = read_header(path, dialect)
        positions, others = columns_of_text(self.contract, self.table, header)
        splitter = Splitter(dialect, header, _line_shape(self.table, positions, header.fields, dialect.delimiter))
        found = splitter.scan(path)
        readable = path
        if found.uneven:
            readable = self.folders.work / "clean.csv"
            splitter.clean(path, readable)
        has_header = dialect.header and not found.uneven
        relation = sql.text_relation(readable, self.table, positions, header.fields, header=has_header)
        hidden = [position for position in range(header.fields) if position not in positions]
        personal = [x for x, column in zip(positions, self.table.columns, strict=True) if column.is_masked]
        hidden += [position for position in personal if position is not None]

        def refused_rows(wanted: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bytes]]:
            for record, reason, data in splitter.fetch(path, wanted):
                if self.erased and self.erased.is_in(data):
                    continue
                shown = splitter.mask(data, frozenset(hidden)) if self._masks else data
                yield record, self._in_encoding(reason), from_utf8(shown, self.table.form.encoding)

        with self._engine() as connection:
            query = sql.TableSql(self.table, relation, self.file)
            if found.malformed:
                import pyarrow as pa

                connection.register("malformed", pa.table({"record": found.malformed}))
                query = replace(query, excluded=("malformed",))
            return self._convert(connection, query, found.records, len(found.malformed), others, refused_rows)

    def json(self) -> Converted:
        """Converts a file of JSON records; raises like `text`."""
        form = self.table.form.json
        assert form is not None
        path = self._as_utf8(self.content.path)
        if is_blank(path):
            if not self.table.optional:
                raise BrokenFile("the file is empty")
            path = self.folders.work / "empty.json"
            path.write_text("[]" if form.is_array else "")
        splitter = json_records.splitter_of(form)
        found = splitter.scan(path)
        readable = path
        if found.uneven:
            readable = self.folders.work / "clean.jsonl"
            splitter.clean(path, readable)
        texts = self.folders.work / "texts.parquet"
        with self._engine() as connection:
            with self._refusing("the engine cannot read it"):
                read = self._write_texts(connection, form, readable, texts, found.records)
            if read != found.records:
                raise BrokenFile(
                    f"the engine reads {read:,} lines where {found.records:,} records were counted; deliver it again"
                )
            malformed_query = (
                f"select _record, '' from read_parquet({literal(texts)}) where not _is_json order by _record"
            )
            ((malformed,),) = connection.execute(f"select count(*) from ({malformed_query})").fetchall()

            def refused_rows(wanted: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bytes]]:
                not_json = _fetched(connection.cursor().execute(malformed_query))
                for record, reason, data in splitter.fetch(path, heapq.merge(wanted, not_json)):
                    if self.erased and self.erased.is_in(data):
                        continue
                    shown = json_values.masked(data, splitter, self.table, is_personal=self._masks)
                    yield record, self._in_encoding(reason), from_utf8(shown, self.table.form.encoding)

            relation = f"select * exclude (_is_json) from read_parquet({literal(texts)}) where _is_json"
            query = sql.TableSql(self.table, relation, self.file)
            return self._convert(connection, query, found.records, malformed, (), refused_rows)

    def parquet(self) -> Converted:
        """Converts a Parquet file; raises like `text`."""
        path = literal(self.content.path)
        with self._engine() as connection:
            with self._refusing("it is not a readable Parquet file"):
                described = connection.execute(f"describe select * from read_parquet({path})").fetchall()
                rows = connection.execute(f"select sum(num_rows)::bigint from parquet_file_metadata({path})").fetchall()
            names = tuple(row[0] for row in described)
            check_ratio("it", (rows[0][0] or 0) * len(names), self.content.size, self.settings)
            if sql.ROW_NUMBER in (name.lower() for name in names):
                raise BrokenFile(
                    f"it has a column {sql.ROW_NUMBER}, a name that the engine keeps for the place of a row: rename "
                    "the column, or leave it out, and deliver the file again"
                )
            positions, others = match_columns(self.contract, self.table, names)
            chosen = tuple(None if position is None else names[position] for position in positions)
            relation = sql.parquet_relation(self.content.path, self.table, chosen)
            types = tuple(None if position is None else described[position][1] for position in positions)
            typed = sql.typed_columns(self.table, types)
            shown = dict.fromkeys(others, self._masks)
            there = (x for x, position in zip(self.table.columns, positions, strict=True) if position is not None)
            shown |= {column.name: self._masks and column.is_masked for column in there}

            def refused_rows(wanted: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bytes]]:
                rows = connection.cursor().execute(sql.parquet_rows_as_json(self.content.path, shown))
                for (record, reason), (_, text) in zip(wanted, _fetched(rows), strict=True):
                    yield record, reason, text.encode()

            query = sql.TableSql(self.table, relation, self.file, typed=typed)
            return self._convert(connection, query, rows[0][0] or 0, 0, others, refused_rows)

    def _convert(
        self,
        connection: duckdb.DuckDBPyConnection,
        query: sql.TableSql,
        records: int,
        malformed: int,
        others: tuple[str, ...],
        refused_rows: RefusedRows,
    ) -> Converted:
        with self._refusing("the engine cannot read it"):
            if any(column.is_json for column in self.table.columns):
                self._prepare(connection)
            if self.erased:
                connection.execute(f"create table erased as {self.erased.records_sql(self.table, query.remaining())}")
                ((theirs,),) = connection.execute("select count(*) from erased").fetchall()
                query, records = replace(query, excluded=(*query.excluded, "erased")), records - theirs
            if pseudonyms := query.pseudonyms():
                connection.execute(pseudonyms).fetchall()
            self._check_event_date(connection, query)
            rows, accepted = self._write_accepted(connection, query)
            refused = malformed
            if accepted + malformed != records:
                refused += self._list_refused(connection, query, accepted, records - malformed)
        quarantined = None
        if refused:
            quarantined, written = self._write_refused(connection, refused, refused - malformed, refused_rows)
            records, refused = records - (refused - written), written
        identities = self._write_identities(connection, query) if self.table.has_direct else None
        warnings = (f"columns that the contract does not know are left out: {listed(others)}",) if others else ()
        return Converted(rows, quarantined, identities, records, accepted, refused, warnings)

    def _write_accepted(
        self, connection: duckdb.DuckDBPyConnection, query: sql.TableSql
    ) -> tuple[dict[date | None, Path], int]:
        """Paths of the accepted rows by event date (else under None), and their number."""
        self.folders.raw.mkdir(parents=True, exist_ok=True)
        target = self.folders.raw / "rows"
        statement = sql.copy_to_parquet(query.accepted(), target, by_event_date=self.table.is_event)
        ((accepted,),) = connection.execute(statement).fetchall()
        return (_rows_by_date(connection, target) if self.table.is_event else {None: target}), accepted

    def _list_refused(
        self, connection: duckdb.DuckDBPyConnection, query: sql.TableSql, accepted: int, expected: int
    ) -> int:
        """Makes the table `refused_rows` (_record, reason); returns their number. All must add up to `expected`."""
        connection.execute(f"create table refused_rows as {query.refused()}").fetchall()
        ((refused,),) = connection.execute("select count(*) from refused_rows").fetchall()
        ((read,),) = connection.execute(query.count()).fetchall()
        if read != expected:
            raise BrokenFile(
                f"the engine reads {read:,} rows where {expected:,} well-formed records were counted, so the quoting "
                "breaks somewhere; put it right and deliver the file again"
            )
        if accepted + refused != read:
            raise RuntimeError(f"{self.file}: {read} rows, of which {accepted} accepted and {refused} refused")
        return refused

    def _write_refused(
        self, connection: duckdb.DuckDBPyConnection, refused: int, listed: int, refused_rows: RefusedRows
    ) -> tuple[Path | None, int]:
        """File of the refused rows, None where there is none, and their number."""
        path = (self.folders.identity if self.table.has_direct else self.folders.raw) / "quarantine.parquet"
        reasons = connection.cursor()
        wanted = _fetched(reasons.execute("from refused_rows order by _record")) if listed else iter(())
        written = quarantine.write_rows(refused_rows(wanted), self.file, path, self.settings)
        if written != refused and not self.erased:
            raise RuntimeError(f"{self.file}: {refused} rows refused, of which {written} were found again")
        if self.table.has_direct:
            path.chmod(0o600)
        return (path, written) if written else (None, 0)

    def _write_identities(self, connection: duckdb.DuckDBPyConnection, query: sql.TableSql) -> Path:
        path = identity.owner_only(self.folders.identity, self.settings.identity_dir) / "identities.parquet"
        connection.execute(sql.copy_to_parquet(query.identities(), path)).fetchall()
        path.chmod(0o600)
        return path

    def _check_event_date(self, connection: duckdb.DuckDBPyConnection, query: sql.TableSql) -> None:
        if not self.table.is_event:
            return
        try:
            connection.execute(query.event_date_check()).fetchall()
        except duckdb.Error as error:
            raise ContractError(
                f"{self.contract.path}: table {self.table.name}: event_date: the engine cannot compute it: {error}"
            ) from error

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        for macro in MACROS:
            connection.execute(macro)

    def _write_texts(
        self, connection: duckdb.DuckDBPyConnection, form: JsonForm, lines: Path, texts: Path, records: int
    ) -> int:
        """Takes the columns' texts out of the records, once for all that follows; returns the number of records."""
        self._prepare(connection)
        query = JsonSql(self.table, form).texts(lines_relation(lines, form.max_record_bytes))
        rows = max(min(GROUP_BYTES * records // max(self.content.size, 1), MAXIMUM_GROUP), MINIMUM_GROUP)
        options = f"format parquet, compression snappy, dictionary_size_limit 1, row_group_size {rows}"
        ((read,),) = connection.execute(f"copy ({query}) to {literal(texts)} ({options})").fetchall()
        return read

    def _as_utf8(self, path: Path) -> Path:
        if self.table.form.encoding == UTF_8:
            return path
        copy = self.folders.work / "utf8"
        write_as_utf8(path, self.table.form.encoding, copy)
        return copy

    def _in_encoding(self, reason: str) -> str:
        return f"not valid {self.table.form.encoding.upper()}" if reason == NOT_UTF8 else reason

    @property
    def _masks(self) -> bool:
        return self.table.is_personal and not self.table.has_direct

    @contextmanager
    def _engine(self) -> Generator[duckdb.DuckDBPyConnection]:
        # Rows of persons may spill: that folder can be entered by its owner only, and goes with the file.
        with open_engine(self.settings, self.folders.work / "spill") as connection:
            key = self.erased.key if self.erased else self.key
            if key is not None:
                set_key(connection, key)
            yield connection

    def _refusing(self, what: str) -> "_Refusing":
        return _Refusing(what, shows_message=not self.table.is_private, path=self.content.path)


@dataclass
class _Refusing:
    """Turns what the engine says of an unreadable file into `BrokenFile`; a full disk or memory is no such thing."""

    what: str
    shows_message: bool
    path: Path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        # What the engine's readers of Parquet say of damaged metadata has no class of its own.
        unreadable = isinstance(error, UNREADABLE_ERRORS) or type(error) is duckdb.Error
        if unreadable and "No space left" not in str(error):
            message = str(error).splitlines()[0].replace(str(self.path), "the file")
            detail = f" ({message})" if self.shows_message else ""
            raise BrokenFile(f"{self.what}{detail}; deliver it again") from error


def _rows_by_date(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[date | None, Path]:
    """One Parquet file per event date; the engine writes several where it had to close one in between."""
    rows: dict[date | None, Path] = {}
    for partition in sorted(folder.glob("event_date=*")):
        parts = sorted(partition.iterdir())
        merged = parts[0]
        if len(parts) > 1:
            merged = partition / "merged.parquet"
            files = ", ".join(literal(part) for part in parts)
            query = f"from read_parquet([{files}], hive_partitioning = false) order by _record"
            connection.execute(sql.copy_to_parquet(query, merged))
        rows[date.fromisoformat(partition.name.removeprefix("event_date="))] = merged
    return rows


def _line_shape(table: Table, positions: Positions, fields: int, delimiter: str) -> re.Pattern[bytes] | None:
    """What a line of the table looks like when it is a record of its own; None when its types do not tell."""
    patterns = [f"[^{re.escape(delimiter)}]*"] * fields
    tells = False
    for position, column in zip(positions, table.columns, strict=True):
        if position is not None and column.required and column.data_type in INTEGER_TYPES | FLOAT_TYPES:
            patterns[position] = r"\W?[-+]?[0-9.]+\W?"
            tells = True
    return re.compile(re.escape(delimiter).join(patterns).encode(), re.DOTALL) if tells and fields > 1 else None


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[tuple]:
    while rows := result.fetchmany(FETCHED_ROWS):
        yield from rows
