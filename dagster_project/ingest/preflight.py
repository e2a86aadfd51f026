"""What a look of a second at a landing place tells: tables without files, headers that cannot be loaded, strange rows.

The loader decides what is loaded. It is asked here by the functions that it asks itself, so that nothing is refused
that it would take, and everything that is wrong is told at once. What takes longer than a look is left to it: whether
a file is whole, rows beyond the first ones, files beyond `MOST_FILES`, Parquet in archives.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath

import duckdb

from dagster_project.base.engine import open_engine
from dagster_project.base.words import nearest
from dagster_project.contracts.forms import JsonForm
from dagster_project.contracts.source import Contract, Dialect, Table
from dagster_project.ingest import json_records, sql
from dagster_project.ingest.columns import Positions, columns_of_text, match_columns
from dagster_project.ingest.encodings import to_utf8
from dagster_project.ingest.json_sql import MACROS, JsonSql
from dagster_project.ingest.landing import (
    LandingError,
    LandingFile,
    all_files,
    described_names,
    described_patterns,
    head_of,
    is_missing,
    of_table,
)
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.records import BrokenFile, Header, Splitter, header_of
from dagster_project.settings import Settings

HEAD = 64 << 10
"""Bytes of a file that are looked at."""
FIRST_ROWS = 50
STRANGE_SHARE = 0.5
"""Share of the first rows from which on their refusal is worth a word."""
MOST_FILES = 200
"""Files that are looked into, of all tables together; the newest by name of every table first."""
MOST_PARQUET_FILES = 20
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass
class _Findings:
    """What stops the source, by file or table, and what is worth a word.

    Attributes:
        known: the ledger's names by table.
        read: tables of which first rows were looked at.
    """

    known: Mapping[str, set[str]]
    faults: list[str]
    notes: list[str]
    read: set[str]


def check_landing(contract: Contract, source: str, place: Path, settings: Settings) -> list[str]:
    """See that the files of a source can be loaded, as far as their names, headers and first rows tell.

    Returns:
        Sentences about first rows that would be refused one by one.

    Raises:
        LandingError: a table has no file and never had one (one that may be absent: when no table has any), or a file
            would be refused whole; tells all of them.
    """
    files = list(all_files(place))
    tables = {table.name: sorted(of_table(table, files), key=lambda file: file.name) for table in contract.tables}
    found = _Findings(_known(contract, source, settings), [], [], set())
    missing = [
        table for table in contract.tables if is_missing(table, tables[table.name], found.known.get(table.name, ()))
    ]
    if not any(tables.values()) and not found.known:  # every table may be absent, but not all of them
        missing = list(contract.tables)
    found.faults += _missing(missing, files, tables.values())
    with ExitStack() as stack, open_engine(settings) as engine:
        engine.execute("create table pseudonyms (plain varchar, pseudonym varchar)")
        for macro in MACROS:
            engine.execute(macro)
        archives: dict[Path, zipfile.ZipFile] = {}
        for table, readable in _in_turn(contract, tables, found.known):
            if readable.member is not None and not readable.defect and readable.container not in archives:
                archives[readable.container] = stack.enter_context(zipfile.ZipFile(readable.container))
            _look(contract, table, readable, archives.get(readable.container), engine, found, settings)
    if found.faults:
        told = "".join(f"\n  {fault}" for fault in dict.fromkeys(found.faults))
        there = f"\nIn {place} lie: {described_names([file.name for file in files])}" if missing else ""
        raise LandingError(
            f"The files of source {source} (contract {contract.name}) in {place} cannot be loaded, and nothing was "
            f"begun:{told}{there}\nPut right what is told and give the same command again."
        )
    return found.notes


def _known(contract: Contract, source: str, settings: Settings) -> dict[str, set[str]]:
    """Names of files that were loaded, by table."""
    known: dict[str, set[str]] = {}
    if settings.raw_dir.exists():
        for record in Ledger(settings).files(contract.name, source=source):
            if record.status != "refused":
                known.setdefault(record.table, set()).add(record.file)
    return known


def _missing(
    tables: Sequence[Table], files: Sequence[LandingFile], taken: Iterable[Sequence[LandingFile]]
) -> Iterator[str]:
    """That tables have no files, how these would be called, and which of the files that no table has may be meant."""
    used = {file.name for some in taken for file in some}
    stems = {PurePosixPath(file.name).name.split(".")[0]: file.name for file in files if file.name not in used}
    usual = [table.name for table in tables if not table.files]
    if usual:
        yield (
            f"no file for {'table' if len(usual) == 1 else f'{len(usual)} tables:'} {', '.join(usual)}. "
            f"Looked for {described_patterns(None)}"
        )
    for table in tables:
        if table.files:
            yield f"no file for table {table.name}. Looked for {described_patterns(table)}"
        near = stems.get(nearest(table.name, stems) or "")
        if near is not None and PurePosixPath(near).suffix.lower() in SPREADSHEETS:
            yield f"{near} is a spreadsheet, which is not read: save it as CSV (UTF-8), {table.name}.csv"
        elif near is not None:
            yield f"{near} is no name of a file of table {table.name}. Did you mean {table.name}.csv?"


def _in_turn(
    contract: Contract, tables: Mapping[str, Sequence[LandingFile]], known: Mapping[str, set[str]]
) -> Iterator[tuple[Table, LandingFile]]:
    """Files that the loader would read, one of every table in turn: those never loaded first, then the newest by name.

    Of a snapshot it reads the newest one that it can read, and all that is damaged on the outside: here the newest.
    """
    queues = []
    for table in contract.tables:
        names = known.get(table.name, set())
        newest = [file for file in tables[table.name] if file.name not in names][::-1]
        newest += [file for file in tables[table.name] if file.name in names][::-1]
        if table.delivery == "snapshot":
            last = tables[table.name][-1:]
            newest = [*last, *(file for file in tables[table.name] if file.defect and file not in last)]
        queues.append([(table, file) for file in newest])
    turns = (pair for turn in zip_longest(*queues) for pair in turn if pair)
    parquet = 0
    for table, file in islice(turns, MOST_FILES):
        parquet += file.format == "parquet"
        if file.format != "parquet" or file.defect or parquet <= MOST_PARQUET_FILES:
            yield table, file


def _look(
    contract: Contract,
    table: Table,
    file: LandingFile,
    archive: zipfile.ZipFile | None,
    engine: duckdb.DuckDBPyConnection,
    found: _Findings,
    settings: Settings,
) -> None:
    try:
        if file.format == "parquet" and not file.defect:
            names = _parquet_names(file)
            if names is not None:
                match_columns(contract, table, names)
            return
        head, is_whole = head_of(file, HEAD, settings, archive)
        if table.optional and is_whole and not head.strip():
            return
        head = to_utf8(head, table.form.encoding)
        if table.form.json:
            records = _first_records(table.form.json, head, is_whole)
            if table.name not in found.read and (
                note := _strange_records(engine, table, table.form.json, file, records)
            ):
                found.notes.append(note)
            found.read.add(table.name)
            return
        header = header_of(head, table.form.dialect, is_whole=is_whole)
        if header is None:
            return
        positions, _ = columns_of_text(contract, table, header)
    except BrokenFile as error:
        where = f"{file.name}" if file.defect else f"table {table.name}, {file.name}"
        found.faults.append(f"{where}: {error}")
        return
    if table.name in found.read:  # files of a table are alike, and the engine takes its time
        return
    found.read.add(table.name)
    if note := _strange_rows(engine, contract, table, file, head, is_whole, header, positions):
        found.notes.append(note)


def _parquet_names(file: LandingFile) -> tuple[str, ...] | None:
    """Columns of a Parquet file; None where only the loader can tell."""
    if file.member is not None or file.packing:
        return None
    import pyarrow as pa  # only where there is Parquet
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(file.container).names)
    except (pa.ArrowException, OSError):
        return None


def _strange_rows(
    engine: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    file: LandingFile,
    head: bytes,
    is_whole: bool,
    header: Header,
    positions: Positions,
) -> str | None:
    """That most of the first rows would be refused, with the first reason; by the loader's own SQL."""
    rows = list(islice(_rows(table.form.dialect, head, is_whole, header), FIRST_ROWS))
    even = [row for row in rows if len(row) == header.fields]
    chosen = [[None if position is None else row[position] for position in positions] for row in even]
    if not rows:
        return None
    if 2 * len(chosen) < len(rows):
        return (
            f"{file.name}: of its first {len(rows)} records {len(rows) - len(chosen)} have not as many fields as its "
            "header. They would be refused."
        )
    texts = (sql.delivered_text(f"fields[{n}]", x, table.form.dialect) for n, x in enumerate(table.columns, start=1))
    columns = "".join(f", {text} as _text{index}" for index, text in enumerate(texts))
    relation = f"select row_number() over () as _record{columns} from first_rows"
    engine.execute("create or replace table first_rows as select unnest($1::varchar[][]) as fields", [chosen])
    try:
        refused = engine.execute(sql.TableSql(table, relation, file.name).refused()).fetchall()
    except duckdb.Error:
        return None  # a contract that does not fit its columns: the loader says so
    if len(refused) < STRANGE_SHARE * len(chosen):
        return None
    return (
        f"{file.name}: {len(refused)} of its first {len(chosen)} rows would be refused, such as the first of them: "
        f"{refused[0][1]}."
    )


def _first_records(form: JsonForm, head: bytes, is_whole: bool) -> list[bytes]:
    """The first records of a file of JSON.

    Raises:
        BrokenFile: it is empty, no text, or no array of records, as far as the first bytes tell.
    """
    if is_whole and not head.strip():
        raise BrokenFile("the file is empty")
    splitter, records = json_records.splitter_of(form), []
    end = len(head) if is_whole or form.is_array else head.rfind(b"\n") + 1
    try:
        for run in splitter.runs_of(BytesIO(head[:end])):
            records += run.data.split(b"\n") if run.count > 1 else [run.data]
    except BrokenFile:
        if is_whole or not (form.is_array and head.strip()[:1] in (b"[", b"{")):
            raise
    return [record for record in records if record.strip()][:FIRST_ROWS]


def _strange_records(
    engine: duckdb.DuckDBPyConnection, table: Table, form: JsonForm, file: LandingFile, records: list[bytes]
) -> str | None:
    """That most of the first records would be refused, with the first reason; by the loader's own SQL."""
    lines = [record.decode(errors="replace").translate({10: " ", 13: " "}) for record in records]
    engine.execute("create or replace table first_lines as select unnest($1::varchar[]) as line", [lines])
    query = JsonSql(table, form).texts("select row_number() over () as _record, line from first_lines")
    engine.execute(f"create or replace table first_texts as {query}")
    strange = engine.execute("select _record from first_texts where not _is_json order by _record").fetchall()
    refused = [(record, json_records.splitter_of(form).why_not_json(records[record - 1])) for (record,) in strange]
    try:
        refused += engine.execute(
            sql.TableSql(table, "from first_texts where _is_json", file.name).refused()
        ).fetchall()
    except duckdb.Error:
        return None  # a contract that does not fit its columns: the loader says so
    if not refused or len(refused) < STRANGE_SHARE * len(records):
        return None
    return (
        f"{file.name}: {len(refused)} of its first {len(records)} records would be refused, such as the first of them: "
        f"{min(refused)[1]}."
    )


def _rows(dialect: Dialect, head: bytes, is_whole: bool, header: Header) -> Iterator[list[str | None]]:
    """Fields of the records that are whole in the first bytes of a file."""
    splitter, missing = Splitter(dialect, header), set(dialect.null_values)
    end = len(head) if is_whole else head.rfind(header.line_end[-1:] or b"\n") + 1
    try:
        for record in splitter.records_of(BytesIO(head[header.start : end])):
            fields = [field.decode(errors="replace") for field in splitter.fields(record)]
            yield [None if field in missing else field for field in fields]
    except BrokenFile:
        return
