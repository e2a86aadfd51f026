"""Masks learners in what is told of runs: Dagster's history and logs, pages, files of artifacts."""

import json
import os
import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dagster_project.base.sql import identifier
from dagster_project.ingest.recognition import Erased, Span, mask_bytes, mask_spans
from dagster_project.ingest.requests import ErasureError
from dagster_project.settings import Settings

DATABASES = (".db", ".sqlite")
SECONDS_FOR_A_LOCK = 60
ROWS_AT_ONCE = 500
OF_NO_LEARNER = ("append_only", "compiled_marts", "lineage", "models", "receipts", "skills")
"""Folders of artifacts that are left as they are: rows of `append_only` were removed one by one, `compiled_marts` is
SQL that runs again, `lineage` has names of columns, models and item banks are numbers that a changed sign makes
unreadable, receipts name nobody."""
UNTOLD_FILES = (".parquet", ".duckdb", ".incoming", ".yaml", ".yml")
UNTOLD_TABLES = ("alembic_version", "concurrency_limits", "concurrency_slots", "kvs", "pending_steps", "snapshots")
"""Tables of Dagster's history in which nothing is told of a run: cursors, limits, versions, compressed structure."""
# fmt: off
UNTOLD_COLUMNS = frozenset((
    "action_type", "asset_key", "backfill_id", "check_name", "concurrency_key", "daemon_id", "daemon_type",
    "dagster_event_type", "execution_status", "job_name", "job_origin_id", "key", "last_run_id", "mode", "name",
    "partition", "partition_set", "partitions_def_name", "pipeline_name", "repository_origin_id", "run_id",
    "selector_id", "snapshot_id", "snapshot_type", "status", "step_key",
))
"""Columns by which Dagster finds its records."""
UNTOLD_KEYS = frozenset((
    "asset_check_selection", "asset_key", "asset_selection", "backfill_id", "check_name", "cursor", "event_type_value",
    "execution_plan_snapshot_id", "external_pipeline_origin", "job_name", "job_snapshot_id", "logging_tags",
    "mapping_key", "mode", "op_name", "origin_id", "output_name", "parent_run_id", "partition", "partition_key",
    "pipeline_code_origin", "pipeline_name", "pipeline_snapshot_id", "remote_job_origin", "repository_name",
    "root_run_id", "run_id", "run_ids", "run_key", "selector_id", "solid_selection", "solids_to_execute", "step_key",
    "step_keys_to_execute", "step_kind_value",
))
"""Keys of Dagster's own objects whose values are structure, by which records belong together."""
UNTOLD_CLASSES = frozenset((
    "AssetCheckKey", "AssetKey", "NodeHandle", "SolidHandle", "StepHandle", "StepOutputHandle",
))
# fmt: on
TAGS = "tags"
FILL_OF_TAGS = "-"
"""What hides a word of a tag; with an asterisk in a tag, Dagster cannot read the record."""
CLASS = "__class__"
"""Dagster's JSON names its own objects by this key, the first of each."""
SYSTEM_TAGS = ("dagster/", ".dagster/", "learning_warehouse/")
TEXT_TYPES = ("", "BLOB", "CHAR", "CLOB", "JSON", "TEXT", "VARCHAR")
JSON_SIGN = re.compile(
    r"""\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]""", re.DOTALL
)
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


def mask_records(settings: Settings, erased: Erased) -> dict[str, int]:
    """Put asterisks for the learners' ids, pseudonyms and identifiers into what is told of runs.

    That is Dagster's history (examples of checks, settings of runs), its logs, and the pages and files of artifacts,
    Data Docs among them; not the folders `OF_NO_LEARNER`. Files keep their length, so that a run that writes to one
    goes on. Of JSON (a file, a line, a value of a database, a text within JSON) only strings change, keys of objects
    among them, and never a number: nothing tells the id 28400 from a count of 28,400. Elsewhere, and within a longer
    string, a number is an id where it is marked as one (`Erased.spans`).

    Returns:
        Texts that were masked, by place.

    Raises:
        ErasureError: what was masked would not be readable as before; it is left as it was.
    """
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")
    kept = [settings.artifacts_dir / name for name in OF_NO_LEARNER]
    masked: dict[str, int] = {}
    for folder in (dagster_home, settings.artifacts_dir):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or path.suffix in UNTOLD_FILES:
                continue
            if any(path.is_relative_to(other) for other in kept) or path.name.endswith(("-wal", "-shm", "-journal")):
                continue
            count = _mask_database(path, erased) if path.suffix in DATABASES else _mask_file(path, erased)
            if count:
                place = f"texts of {folder.name}"
                masked[place] = masked.get(place, 0) + count
    return masked


def _mask_file(path: Path, erased: Erased) -> int:
    data = path.read_bytes()
    if b"\0" in data:  # no text: something stored by a program, which a changed byte would break
        return 0
    new = mask_bytes(data, lambda text: _spans_of_file(text, erased))
    if new == data:
        return 0
    if [_shape(part) for part in (data, *data.splitlines())] != [_shape(part) for part in (new, *new.splitlines())]:
        raise ErasureError(f"{path}: masked, it would not be the JSON that it was; it is left as it was")
    with path.open("r+b") as file:
        file.write(new)
        file.flush()
        file.seek(0)
        if file.read(len(new)) != new:
            raise ErasureError(f"{path}: what was masked is not what is read back; run the erasure again")
    return 1


def _mask_database(path: Path, erased: Erased) -> int:
    with closing(sqlite3.connect(path, timeout=SECONDS_FOR_A_LOCK, isolation_level=None)) as connection:
        connection.text_factory = lambda value: value.decode("utf-8", "surrogateescape")
        connection.execute("pragma secure_delete = on")  # what was there is overwritten, not left on free pages
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        count = sum(
            _mask_table(connection, table, path, erased)
            for (table,) in tables
            if table not in UNTOLD_TABLES and not table.startswith("sqlite_")
        )
        if count:
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    return count


def _mask_table(connection: sqlite3.Connection, table: str, path: Path, erased: Erased) -> int:
    """Mask the rows of a table, and read them back; returns how many changed.

    Rows are read and written in one transaction, so that nobody writes in between; some hundred at a time, since
    runs and Dagster's daemon write to the same database and wait for half a minute only.
    """
    described = connection.execute(f"pragma table_info({identifier(table)})").fetchall()
    columns = [name for _, name, kind, *_ in described if kind.upper().split("(")[0].strip() in TEXT_TYPES]
    are_tags = {"key", "value"}.issubset(columns)
    key, fill = (identifier("key"), FILL_OF_TAGS) if are_tags else ("null", "*")
    columns = [column for column in columns if column not in UNTOLD_COLUMNS]
    if not columns:
        return 0
    query = f"select rowid, {key}, {', '.join(map(identifier, columns))} from {identifier(table)}"
    query += " where rowid > ? order by rowid limit ?"
    changed, last = 0, -(1 << 63)
    while True:
        connection.execute("begin immediate")
        try:
            rows = connection.execute(query, [last, ROWS_AT_ONCE]).fetchall()
            for row, tag, *values in rows:
                if not (isinstance(tag, str) and tag.startswith(SYSTEM_TAGS)):
                    texts = dict(zip(columns, values, strict=True))
                    new = {
                        name: text
                        for name, value in texts.items()
                        if isinstance(value, str | bytes) and (text := _masked(value, erased, fill)) != value
                    }
                    if new:
                        _update(connection, table, row, texts, new, path)
                        changed += 1
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        if not rows:
            return changed
        last = rows[-1][0]


def _update(
    connection: sqlite3.Connection,
    table: str,
    row: int,
    texts: Mapping[str, object],
    new: Mapping[str, str | bytes],
    path: Path,
) -> None:
    """Write the masked texts of a row, and read them back."""
    # Given as bytes, since a text may hold bytes that are no text.
    types = ("blob" if isinstance(value, bytes) else "text" for value in new.values())
    given = [x if isinstance(x, bytes) else x.encode("utf-8", "surrogateescape") for x in new.values()]
    assigned = ", ".join(f"{identifier(column)} = cast(? as {kind})" for column, kind in zip(new, types, strict=True))
    connection.execute(f"update {identifier(table)} set {assigned} where rowid = ?", [*given, row])
    listed = ", ".join(map(identifier, new))
    back = connection.execute(f"select {listed} from {identifier(table)} where rowid = ?", [row]).fetchone()
    if list(back) != list(new.values()) or any(_shape(texts[column]) != _shape(new[column]) for column in new):
        raise ErasureError(
            f"{path}: table {table}, row {row}: masked, {', '.join(new)} would not be what it was; it is left as it was"
        )


def _masked(value: str | bytes, erased: Erased, fill: str) -> str | bytes:
    """A value of Dagster's history with the learners masked; bytes are left that are no text."""
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return value
        return _masked_text(text, erased, fill).encode()
    return _masked_text(value, erased, fill)


def _masked_text(value: str, erased: Erased, fill: str) -> str:
    spans = _spans_of_string(value, erased, UNTOLD_KEYS)
    return mask_spans(value, spans if fill == "*" else [found._replace(fill=fill) for found in spans])


def _spans_of_file(text: str, erased: Erased) -> list[Span]:
    """Places to mask in a file: JSON as a whole, or lines of JSON and of text."""
    if (spans := _spans_of_json(text, erased)) is not None:
        return spans
    spans, start = [], 0
    for line in text.splitlines(keepends=True):
        found = _spans_of_json(line, erased)
        if found is None:
            found = erased.spans(line, numbers=False)
        spans += [Span(start + begin, start + end, fill) for begin, end, fill in found]
        start += len(line)
    return spans


def _spans_of_string(text: str, erased: Erased, untold: Collection[str] = ()) -> list[Span]:
    """Places to mask in a string of JSON or of a database: the whole of it where it is an id, if only a number."""
    if erased.is_whole(text):
        return [Span(0, len(text))]
    spans = _spans_of_json(text, erased, untold)
    return erased.spans(text, numbers=False) if spans is None else spans


@dataclass
class _Level:
    """An object or a list of JSON that is being read: its last key, whether a key comes next, whose it is."""

    is_object: bool
    is_left_alone: bool = False
    are_tags: bool = False
    expects_key: bool = False
    key: str | None = None
    is_dagsters: bool = False


def _spans_of_json(text: str, erased: Erased, untold: Collection[str] = ()) -> list[Span] | None:
    """Places to mask in the strings of JSON; None: it is none.

    Args:
        untold: keys of Dagster's objects whose values stay as they are; none: it is no JSON of Dagster's.
    """
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    spans: list[Span] = []
    levels = [_Level(is_object=False)]
    for token in JSON_TOKEN.finditer(text):
        level, sign = levels[-1], token[0][0]
        if sign in "{[":
            are_tags = level.are_tags or (level.is_dagsters and level.key == TAGS)
            levels.append(_Level(sign == "{", _is_left_alone(level, untold), are_tags, expects_key=sign == "{"))
        elif sign in "}]":
            levels.pop()
        elif sign == ",":
            level.expects_key, level.key = level.is_object, None
        elif sign == ":":
            level.expects_key = False
        else:
            plain, places = _unescaped_json(token[0])
            if level.expects_key:
                level.key = plain
                level.is_dagsters |= bool(untold) and plain == CLASS
            elif level.key == CLASS and untold and plain in UNTOLD_CLASSES:
                level.is_left_alone = True
            is_field = level.expects_key and level.is_dagsters  # a name that Dagster's own class has for it
            if not (is_field or _is_left_alone(level, untold)):
                start = token.start() + 1
                found = _spans_of_string(plain, erased, untold)
                spans += [
                    Span(start + places[begin], start + places[end], FILL_OF_TAGS if level.are_tags else fill)
                    for begin, end, fill in found
                ]
    return spans


def _is_left_alone(level: _Level, untold: Collection[str]) -> bool:
    """Whether the value of a level's last key is structure of Dagster's."""
    key = level.key
    if level.is_left_alone or not untold or key is None:
        return level.is_left_alone
    return key.startswith(("__", *SYSTEM_TAGS)) or (level.is_dagsters and key in untold)


def _unescaped_json(token: str) -> tuple[str, Sequence[int]]:
    """The text of a string's token of JSON, and the place behind its quote of each sign and of the end."""
    if "\\" not in token:
        return token[1:-1], range(len(token) - 1)
    parts, places, place = [], [], 0
    for sign in JSON_SIGN.findall(token[1:-1]):
        plain = json.loads(f'"{sign}"', strict=False) if sign[0] == "\\" else sign
        parts.append(plain)
        places += [place] * len(plain)
        place += len(sign)
    return "".join(parts), [*places, place]


def _shape(value: object) -> object:
    """What JSON is apart from its strings, numbers as they are written; None of what is no JSON."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not (isinstance(text, str) and text.lstrip().startswith(("{", "["))):
        return None
    try:
        told = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
        return _without_strings(told)
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A number of JSON as it is written."""


class _Pairs(list):
    """An object of JSON, its keys in order."""


def _without_strings(value: object) -> object:
    if isinstance(value, _Number) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return ""
    if isinstance(value, _Pairs):
        return {place: _without_strings(inner) for place, (_, inner) in enumerate(value)}
    return [_without_strings(inner) for inner in value] if isinstance(value, list) else value
