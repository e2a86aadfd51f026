"""How the files of a table are written: the part of a contract that says so. Its keys: `contracts.source`."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dagster_project.contracts.json_paths import Path as JsonPath
from dagster_project.contracts.json_paths import read_path
from dagster_project.contracts.reading import Place

FORMATS = ("csv", "jsonl", "json_array")
MAXIMUM_RECORD = 2_000_000
"""Longest record in bytes, of JSON unless a contract says otherwise; the engine's own limit of a line is the same."""
LONGEST_RECORD = 64_000_000
"""What a contract may permit: a record must fit into memory several times."""
CSV_KEYS = frozenset({"delimiter", "quote", "escape", "null_values", "header"})
JSON_KEYS = frozenset({"record_from", "unwrap", "stringified", "drop_paths", "max_record_bytes"})
TABLE_KEYS = JSON_KEYS | {"csv", "format", "encoding", "columns_by_position"}
STATEFUL = ("iso2022", "hz", "utf_7", "utf-7", "utf7")
"""Beginnings of encodings in which a byte's meaning hangs on bytes long before it, so that no record stands alone."""


@dataclass(frozen=True)
class Dialect:
    r"""How text files of fields are written; single characters, `quote` may be empty.

    With an empty `quote` and another `escape`, a field holds escapes as MySQL writes them: `\t`, `\n`, `\\`.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    null_values: tuple[str, ...] = ("",)
    header: bool = True

    @property
    def has_escapes(self) -> bool:
        """Whether fields stand without quotes and hold escapes."""
        return not self.quote and bool(self.escape)


@dataclass(frozen=True)
class JsonForm:
    """How records of JSON are written, and what of them is never kept.

    Attributes:
        is_array: the file is one array of records, or an object with a list of them at a path of `unwrap`; otherwise
            every line is a record.
        record_from: what stands before the first such text of a line is cut.
        unwrap: a record that has an object at one of these paths (or a string that holds one) is replaced by it.
        stringified: strings at these paths that hold JSON become that JSON.
        drop_paths: what lies there is neither written nor shown.
    """

    is_array: bool = False
    record_from: str | None = None
    unwrap: tuple[JsonPath, ...] = ()
    stringified: tuple[JsonPath, ...] = ()
    drop_paths: tuple[JsonPath, ...] = ()
    max_record_bytes: int = MAXIMUM_RECORD


@dataclass(frozen=True)
class Form:
    """How the files of a table are written that are not Parquet.

    Attributes:
        dialect: of text; its `null_values` hold for JSON and Parquet too.
        json: of JSON; None: the files are text of fields.
        encoding: name of Python's codec.
        columns_by_position: fields come in the contract's order, whatever a header line says.
    """

    dialect: Dialect = Dialect()
    json: JsonForm | None = None
    encoding: str = "utf-8"
    columns_by_position: bool = False

    @property
    def format(self) -> Literal["csv", "jsonl", "json_array"]:
        """As the contract names it."""
        if self.json is None:
            return "csv"
        return "json_array" if self.json.is_array else "jsonl"


PLAIN = Form()
"""Text in the usual dialect."""


def read_dialect(csv: Any, place: Place, default: Dialect | None = None) -> Dialect:
    """A contract's `csv`, or a table's, which overrides single keys of the `default`.

    Raises:
        ContractError: as all that reads a contract.
    """
    csv = place.mapping(csv)
    place.only(csv, set(CSV_KEYS))
    default = default or Dialect()
    characters = {key: csv.get(key, getattr(default, key)) for key in ("delimiter", "quote", "escape")}
    if "escape" not in csv and ("quote" in csv or default.escape == default.quote):
        characters["escape"] = characters["quote"]
    for key, value in characters.items():
        short = isinstance(value, str) and (len(value) == 1 or (value == "" and key != "delimiter"))
        if not short or not value.isascii() or value in ("\n", "\r"):
            raise place.error(key, value, "one ASCII character" + ("" if key == "delimiter" else ", or an empty text"))
    if characters["delimiter"] in (characters["quote"], characters["escape"]):
        raise place.error("delimiter", characters["delimiter"], "another character than quote and escape")
    null_values = place.texts(csv, "null_values", default=default.null_values)
    return Dialect(**characters, null_values=null_values, header=place.boolean(csv, "header", default=default.header))


def read_form(meta: Mapping[str, Any], place: Place, default: Dialect) -> Form:
    """How a table's files are written, from its `config.meta`.

    Raises:
        ContractError: as all that reads a contract.
    """
    format_ = meta.get("format", "csv")
    if format_ not in FORMATS:
        raise place.error(
            "format", format_, f"one of {', '.join(FORMATS)}; files named .parquet are Parquet in every case"
        )
    form = Form(
        dialect=read_dialect(meta.get("csv", {}), place.at("csv"), default),
        encoding=_encoding(meta, place),
        columns_by_position=place.boolean(meta, "columns_by_position", default=False),
    )
    if format_ == "csv":
        for key in sorted(JSON_KEYS & meta.keys()):
            raise place.error(key, meta[key], "format: jsonl or json_array beside it, to which it applies")
        return form
    if form.columns_by_position:
        raise place.error("columns_by_position", True, "format: csv beside it, to which it applies")
    return replace(form, json=_json_form(meta, place, is_array=format_ == "json_array"))


def read_paths(mapping: Mapping[str, Any], key: str, place: Place) -> tuple[JsonPath, ...]:
    """A list of paths into JSON.

    Raises:
        ContractError: as all that reads a contract.
    """
    paths = []
    for text in place.texts(mapping, key):
        path = read_path(text)
        if path is None:
            raise place.error(key, text, "a path such as event.id, parent[0].id, extensions['https://x/y'] or $")
        paths.append(path)
    return tuple(paths)


def _json_form(meta: Mapping[str, Any], place: Place, *, is_array: bool) -> JsonForm:
    record_from = place.text(meta, "record_from", default=None)
    if record_from and (is_array or not record_from.isascii() or not record_from.isprintable()):
        raise place.error("record_from", record_from, "printable ASCII, in a table with format: jsonl")
    paths = {key: read_paths(meta, key, place) for key in ("unwrap", "stringified", "drop_paths")}
    for key, found in paths.items():
        for path in found:
            if not path or not all(isinstance(step, str) for step in path):
                raise place.error(key, list(meta[key]), "paths of keys, such as event.body; of a list, all of it")
    max_record_bytes = meta.get("max_record_bytes", MAXIMUM_RECORD)
    if type(max_record_bytes) is not int or not 1 <= max_record_bytes <= LONGEST_RECORD:
        raise place.error("max_record_bytes", max_record_bytes, f"a whole number from 1 to {LONGEST_RECORD}")
    return JsonForm(is_array, record_from, **paths, max_record_bytes=max_record_bytes)


def _encoding(meta: Mapping[str, Any], place: Place) -> str:
    name = place.text(meta, "encoding", default="utf-8")
    expected = "a name of an encoding that writes ASCII as it is, such as utf-8, latin-1 or cp1252"
    try:
        codec = codecs.lookup(name)
        ascii_bytes = bytes(range(128))
        is_usable = codec.name.replace("-", "_") != "utf_8_sig" and ascii_bytes.decode(name) == ascii_bytes.decode(
            "ascii"
        )
    except (LookupError, UnicodeError):
        is_usable = False
    if not is_usable or codec.name.startswith(STATEFUL):
        raise place.error("encoding", name, expected)
    return codec.name
