r"""The contract of a source: its dbt sources file, read into frozen values.

One file, `dbt/models/staging/<contract>/_<contract>__sources.yml`, tells dbt and the loader the same thing. It holds
one source; what the loader needs beyond dbt's own keys lies under `config.meta`. A key not named here is an error.

Source, `config.meta`:

    contract            name of the contract; also the name of the folder that holds the file
    csv                 dialect of the text files:
        delimiter, quote, escape   one character each; defaults `,` `"` and the quote; quote "" means that nothing is
                                   quoted; with escape "\", fields then hold `\t`, `\n`, `\\` as in MySQL
        null_values                texts that stand for a missing value, quoted or not; default [""]
        header                     true (default): the first line names the columns, in any order;
                                   false: there is no such line, and fields come in the contract's order

Table, `config.meta`:

    delivery        append: files add up; snapshot: the newest file is the whole table
    key             columns that identify a row in its own world; left out when the data have none
    event_date      SQL over the typed columns that gives the date of the event, or
    event_time      the timestamp column whose date it is. Either makes the table an event table, partitioned by date
    received_time   timestamp column: when the event became known
    time_range      {from, to}: first and last permitted event date, both optional; other rows are refused
    references      list of {columns, table, to}: columns that point at another table of the contract; `to` names the
                    columns there and defaults to the same names
    files           glob patterns of the table's landing files; default: see `landing.default_patterns`
    optional        true: the table may be absent from a landing folder, and a file of it may be blank
    freshness       {warn_after: {count, period}, error_after: {count, period}}, as dbt writes the freshness of a
                    source; period is hour or day. How old the newest event (of an event table) or the newest delivery
                    may be before a check warns, or stops the run. Left out: any age
    csv             overrides single keys of the contract's `csv` for this table
    encoding        of its text and JSON, by a name that Python knows; default utf-8. It must write ASCII as it is
    columns_by_position   true: fields come in the contract's order; what a header line says is passed over
    format          csv (default), jsonl (a JSON object in each line) or json_array (a list of objects, or an object
                    with such a list at a path of `unwrap`). Files named .parquet are Parquet in every case
    equivalent_to   {table, key}: a row here and one there may tell of the same event: those that agree in the table's
                    `key`, or in the columns `key` here. For staging and checks; the loader keeps both

Of JSON, paths are written `context.user_id`, `parent[0].id`, `extensions['https://x/y']`:

    record_from     a text: what stands before the first such text of a line is cut, such as a log's prefix
    unwrap          paths: a record that has an object at one of them, or a string that holds one, is replaced by it
    stringified     paths: strings there that hold an object or a list, or a string that does, become it; others stay
    drop_paths      paths: what lies there is written nowhere; they may lead below stringified parts. Of a part that
                    is no JSON, nothing is written where paths lead below it
    max_record_bytes   longer records are refused; default 2,000,000
    key             hash_of_record: the column `record_hash` (varchar, path "#hash") is the key. It holds a hash of the
                    record's bytes from `record_from` on, taken before anything is dropped

Column: `data_type` (see `TYPES`) and, in `config.meta`:

    required    true: a row without a value is refused; {column: value}: it is refused where that column of the table
                has that value
    optional    true: a file may lack the column; it is empty then
    names       what the column may be called in a file that has no column of its name; the first that is there counts.
                `*` stands for any letters, as where a platform puts its customer into the name: ["*_user_id"]
    path        paths of the column in a JSON record: the first that has a value counts; default: the column's name.
                Objects and lists come as JSON, other values as plain text. "$" is the whole record, unwrapped, its
                stringified parts JSON, without what lies at `drop_paths` and at paths of columns with `pii`; "#hash":
                see `key`
    null_values texts that stand for a missing value in this column, beside those of `csv`
    unix_time   seconds or milliseconds: a text of a timestamp column that is a number is a unix time
    pii         direct: the value goes to the identity store only; pseudonym: it is replaced by a keyed hash (varchar);
                dropped: it is written nowhere (varchar), as of a column that nothing needs and that has its place in a
                file without header
    part        regular expression (RE2): only what its first group matches is kept of a text, such as the path of an
                address; a value in which it matches nothing is empty. Not of JSON
    json        true: a text that is not JSON is refused
    person      true: the column says whose row it is, by an id that is kept as it is because the publisher of the data
                has made them pseudonyms already. Erasure finds a learner's rows by these columns and by pseudonyms

A table with direct identifiers has at least one pseudonym column: the identity store is keyed by it.
`dagster` and `owner` are permitted in every meta block and ignored here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from dagster_project.base.sql import identifier
from dagster_project.contracts.forms import PLAIN, TABLE_KEYS, Dialect, Form, read_dialect, read_form, read_paths
from dagster_project.contracts.json_paths import Path as JsonPath
from dagster_project.contracts.json_paths import is_below
from dagster_project.contracts.reading import ContractError, Place, read_yaml

INTEGER_TYPES = frozenset({"tinyint", "smallint", "integer", "bigint", "hugeint"})
FLOAT_TYPES = frozenset({"float", "double"})
TYPES = INTEGER_TYPES | FLOAT_TYPES | {"varchar", "boolean", "date", "timestamp", "time", "uuid"}
DECIMAL = re.compile(r"decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)")
PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
UNIX_TIMES = ("seconds", "milliseconds")
HASH_OF_RECORD, RECORD_HASH, HASH_PATH = "hash_of_record", "record_hash", "#hash"
"""What a contract writes of a key that is made from the record: the key, its column, and the column's path."""
COLUMN_KEYS = frozenset(
    {"required", "pii", "person", "optional", "path", "null_values", "unix_time", "names", "part", "json"}
)
RESERVED_COLUMNS = frozenset({"source", "event_date", "_file", "_record"})


@dataclass(frozen=True)
class Column:
    """A column as it is delivered.

    Attributes:
        person: it says whose row it is, though it is kept as it is.
        optional: a file may lack it.
        names: what it may be called in a file instead; `*` stands for any letters.
        paths: where it lies in a JSON record; the first that has a value counts.
        is_hash: it holds the hash of the record's bytes.
        null_values: texts that stand for a missing value, beside those of the table.
        unix_time: unit of the numbers that stand for times.
        part: regular expression; only what its first group matches is kept.
        is_json: a text that is not JSON is refused.
    """

    name: str
    data_type: str
    required: bool = False
    required_where: tuple[str, str] | None = None
    pii: Literal["direct", "pseudonym", "dropped"] | None = None
    description: str = ""
    person: bool = False
    optional: bool = False
    names: tuple[str, ...] = ()
    paths: tuple[JsonPath, ...] = ()
    is_hash: bool = False
    null_values: tuple[str, ...] = ()
    unix_time: Literal["seconds", "milliseconds"] | None = None
    part: str | None = None
    is_json: bool = False

    @property
    def is_masked(self) -> bool:
        """Whether a refused row is shown without the value: raw would not hold it as it is delivered."""
        return bool(self.pii or self.part)


@dataclass(frozen=True)
class Reference:
    """`columns` of the table that carries it point at the columns `to` of `table`."""

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]


@dataclass(frozen=True)
class Equivalent:
    """A row and one of `table` may tell of the same event: `key` names the columns in which they agree."""

    table: str
    key: tuple[str, ...]


@dataclass(frozen=True)
class TimeRange:
    """First and last permitted event date, both included; None leaves that side open."""

    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class Freshness:
    """Age from which on a check warns or fails; None: never."""

    warn_after: timedelta | None = None
    error_after: timedelta | None = None


@dataclass(frozen=True)
class Table:
    """A table as it is delivered, and what its rows must fulfil."""

    name: str
    columns: tuple[Column, ...]
    delivery: Literal["append", "snapshot"]
    key: tuple[str, ...] = ()
    event_date: str | None = None
    event_time: str | None = None
    received_time: str | None = None
    time_range: TimeRange = TimeRange()
    references: tuple[Reference, ...] = ()
    files: tuple[str, ...] = ()
    optional: bool = False
    freshness: Freshness | None = None
    description: str = ""
    form: Form = PLAIN
    equivalent_to: Equivalent | None = None

    @property
    def is_event(self) -> bool:
        """Whether rows are partitioned by event date; `event_date` then holds the SQL of that date."""
        return self.event_date is not None

    @property
    def raw_columns(self) -> tuple[Column, ...]:
        """The columns that raw holds: all but direct identifiers and what is dropped."""
        return tuple(column for column in self.columns if column.pii not in ("direct", "dropped"))

    @property
    def direct_columns(self) -> tuple[Column, ...]:
        """Direct identifiers, which are refused a place in raw."""
        return tuple(column for column in self.columns if column.pii == "direct")

    @property
    def pseudonym_columns(self) -> tuple[Column, ...]:
        """Ids of persons that raw holds as pseudonyms."""
        return tuple(column for column in self.columns if column.pii == "pseudonym")

    @property
    def person_columns(self) -> tuple[Column, ...]:
        """The columns that say whose row it is: pseudonyms, and ids that are kept as they are."""
        return tuple(column for column in self.columns if column.pii == "pseudonym" or column.person)

    @property
    def has_direct(self) -> bool:
        """Whether rows bring direct identifiers along."""
        return bool(self.direct_columns)

    @property
    def is_personal(self) -> bool:
        """Whether a value of any column is not kept as it is delivered."""
        return any(column.is_masked for column in self.columns)

    @property
    def is_private(self) -> bool:
        """Whether its files hold what only their owner may read: personal columns, or parts that are dropped."""
        return self.is_personal or bool(self.form.json and self.form.json.drop_paths)


@dataclass(frozen=True)
class Contract:
    """What a kind of source delivers: its tables, and how their files are written."""

    name: str
    path: Path
    dialect: Dialect
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """Table by name; raises `ContractError` naming the tables there are."""
        for table in self.tables:
            if table.name == name:
                return table
        raise ContractError(
            f"contract {self.name} has no table {name!r}; it has {', '.join(table.name for table in self.tables)} "
            f"({self.path})"
        )

    @property
    def schema(self) -> str:
        """Schema of the contract's tables in asset keys and in dbt."""
        return f"raw_{self.name}"


def read_contracts(models_dir: Path) -> dict[str, Contract]:
    """Every contract below `<models_dir>/staging`, by name.

    Raises:
        ContractError: a malformed contract, or none at all.
    """
    paths = sorted(models_dir.glob("staging/*/_*__sources.yml"))
    if not paths:
        raise ContractError(f"{models_dir}: no contract found; expected staging/<contract>/_<contract>__sources.yml")
    contracts = [read_contract(path) for path in paths]
    return {contract.name: contract for contract in contracts}


def read_contract(path: Path) -> Contract:
    """The contract in one dbt sources file.

    Raises:
        ContractError: the message names file, table and key, and what was expected.
    """
    sources = read_yaml(path).get("sources")
    if not isinstance(sources, list) or len(sources) != 1:
        raise ContractError(f"{path}: expected a list `sources` with exactly one source, the contract")
    return _contract(Place(path, ("source",)).mapping(sources[0]), path)


# --- the YAML, block by block


def _contract(source: Mapping[str, Any], path: Path) -> Contract:
    place = Place(path, (f"source {source.get('name', '?')}",))
    meta = place.meta(source, {"contract", "csv"})
    name = place.text(meta, "contract")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise place.error("contract", name, "lower-case letters, digits and _, beginning with a letter")
    if path.parent.name != name or path.name != f"_{name}__sources.yml":
        raise place.error("contract", name, f"the name of its folder and file: {name}/_{name}__sources.yml")
    tables = source.get("tables")
    if not isinstance(tables, list) or not tables:
        raise place.error("tables", tables, "a list of tables")
    dialect = read_dialect(meta.get("csv", {}), place.at("csv"))
    contract = Contract(name, path, dialect, tuple(_table(table, path, dialect) for table in tables))
    _check_distinct(place, "tables", [table.name for table in contract.tables])
    _check_references(contract)
    return contract


def _table(raw: Any, path: Path, dialect: Dialect) -> Table:
    name = Place(path, ("table",)).text(Place(path, ("table",)).mapping(raw), "name")
    place = Place(path, (f"table {name}",))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise place.error("name", name, "letters, digits and _, beginning with a letter")
    known = {
        "delivery",
        "key",
        "event_date",
        "event_time",
        "received_time",
        "time_range",
        "references",
        "files",
        "optional",
        "freshness",
        "equivalent_to",
    }
    meta = place.meta(raw, known | TABLE_KEYS)
    form = read_form(meta, place, dialect)
    if not isinstance(raw.get("columns"), list) or not raw["columns"]:
        raise place.error("columns", raw.get("columns"), "a list of columns")
    columns = tuple(_column(column, place, form) for column in raw["columns"])
    _check_distinct(place, "columns", [column.name.lower() for column in columns])
    delivery = meta.get("delivery")
    if delivery not in ("append", "snapshot"):
        raise place.error("delivery", delivery, "append or snapshot")
    if "event_date" in meta and "event_time" in meta:
        raise place.error("event_time", meta["event_time"], "either event_date or event_time, not both")
    event_time = place.text(meta, "event_time", default=None)
    event_date = place.text(meta, "event_date", default=None)
    if event_time:
        event_date = f"cast({identifier(event_time)} as date)"
    table = Table(
        name=name,
        columns=columns,
        delivery=delivery,
        key=_key(meta, columns, place),
        event_date=event_date.strip() if event_date else None,
        event_time=event_time,
        received_time=place.text(meta, "received_time", default=None),
        time_range=_time_range(meta.get("time_range"), place.at("time_range")),
        references=tuple(_reference(reference, place) for reference in meta.get("references", [])),
        files=place.texts(meta, "files"),
        optional=place.boolean(meta, "optional", default=False),
        freshness=_freshness(meta["freshness"], place.at("freshness")) if "freshness" in meta else None,
        description=str(raw.get("description", "")).strip(),
        form=form,
        equivalent_to=_equivalent(meta["equivalent_to"], place) if "equivalent_to" in meta else None,
    )
    _check_table(table, place)
    return table


def _key(meta: Mapping[str, Any], columns: tuple[Column, ...], place: Place) -> tuple[str, ...]:
    if meta.get("key") != HASH_OF_RECORD:
        return place.texts(meta, "key")
    hashes = tuple(column.name for column in columns if column.is_hash)
    if hashes != (RECORD_HASH,):
        raise place.error("key", HASH_OF_RECORD, f'a column {RECORD_HASH} with path: "#hash" in the table')
    return hashes


def _equivalent(raw: Any, table: Place) -> Equivalent:
    place = table.at("equivalent_to")
    place.only(place.mapping(raw), {"table", "key"})
    return Equivalent(place.text(raw, "table"), place.texts(raw, "key"))


def _column(raw: Any, table: Place, form: Form) -> Column:
    name = table.at("column").text(table.at("column").mapping(raw), "name")
    place = table.at(f"column {name}")
    meta = place.meta(raw, set(COLUMN_KEYS))
    if name.lower() in RESERVED_COLUMNS or name.lower().startswith("_text") or not name.isprintable():
        raise place.error("name", name, f"printable, none of {', '.join(sorted(RESERVED_COLUMNS))}, not _text…")
    data_type = place.text(raw, "data_type").lower()
    if data_type not in TYPES and not DECIMAL.fullmatch(data_type):
        raise place.error("data_type", data_type, f"one of {', '.join(sorted(TYPES))}, decimal(p, s)")
    pii = meta.get("pii")
    if pii not in (None, "direct", "pseudonym", "dropped"):
        raise place.error("pii", pii, "direct, pseudonym or dropped")
    if pii == "pseudonym" and data_type != "varchar":
        raise place.error("data_type", data_type, "varchar, since a pseudonym is a text")
    if pii == "dropped" and data_type != "varchar":
        raise place.error("data_type", data_type, "varchar, since a value that is dropped is not read")
    required, required_where = False, None
    if isinstance(meta.get("required"), Mapping):
        required_where = _condition(meta["required"], place)
    else:
        required = place.boolean(meta, "required", default=False)
    person = place.boolean(meta, "person", default=False)
    if form.json and "part" in meta:
        raise place.error("part", meta["part"], "format: csv in the table, to which it applies")
    part, is_json = _part(meta, place), place.boolean(meta, "json", default=False)
    for key, value in (("part", part), ("json", is_json)):
        if value and (data_type != "varchar" or pii or person or (part and is_json)):
            raise place.error(key, value, "data_type varchar, and neither pii, person, part nor json beside it")
    if person and pii:
        raise place.error("person", person, f"nothing beside pii: {pii}, which says as much")
    optional = place.boolean(meta, "optional", default=False)
    if optional and (required or required_where or pii or person):
        raise place.error(
            "optional", optional, "nothing beside required, pii or person: such a column cannot be missing"
        )
    description = str(raw.get("description", "")).strip()
    unix_time = meta.get("unix_time")
    if unix_time is not None and (unix_time not in UNIX_TIMES or data_type != "timestamp"):
        raise place.error(
            "unix_time", unix_time, f"one of {', '.join(UNIX_TIMES)}, in a column with data_type timestamp"
        )
    paths, is_hash = _paths(name, meta, place, form)
    if is_hash and (data_type != "varchar" or pii or person):
        raise place.error("path", HASH_PATH, "data_type varchar beside it, and neither pii nor person")
    if pii and () in paths:
        raise place.error("path", "$", "nothing of pii beside it: the whole record is no identifier")
    return Column(
        name=name,
        data_type=data_type,
        required=required,
        required_where=required_where,
        pii=pii,
        description=description,
        person=person,
        optional=optional,
        paths=paths,
        is_hash=is_hash,
        null_values=place.texts(meta, "null_values"),
        unix_time=unix_time,
        names=place.texts(meta, "names"),
        part=part,
        is_json=is_json,
    )


def _part(meta: Mapping[str, Any], place: Place) -> str | None:
    pattern = place.text(meta, "part", default=None)
    try:
        if pattern is None or re.compile(pattern).groups == 1:
            return pattern
    except re.error:
        pass
    raise place.error("part", pattern, "a regular expression with one group, such as /learn/([^/]+)/")


def _paths(name: str, meta: Mapping[str, Any], place: Place, form: Form) -> tuple[tuple[JsonPath, ...], bool]:
    """Where a column lies in a JSON record, and whether it is the record's hash instead."""
    if form.json is None:
        if "path" in meta:
            raise place.error("path", meta["path"], "format: jsonl or json_array in the table, to which it applies")
        return (), False
    if meta.get("path") == HASH_PATH:
        return (), True
    written = meta.get("path", [name])
    listed = {"path": [written] if isinstance(written, str) else written}
    paths = ((name,),) if "path" not in meta else read_paths(listed, "path", place)
    if not paths:
        raise place.error("path", written, "at least one path")
    for path, text in zip(paths, listed["path"], strict=False):
        if any(is_below(path, dropped) for dropped in form.json.drop_paths):
            raise place.error("path", text, "a path that is not dropped: this one, or one above, is among drop_paths")
    if () in paths and len(paths) > 1:
        raise place.error("path", written, "no other path beside $, which is always there")
    return paths, False


def _condition(raw: Mapping, place: Place) -> tuple[str, str]:
    if len(raw) != 1 or not all(isinstance(part, str) for pair in raw.items() for part in pair):
        raise place.error("required", dict(raw), "true, false, or one column with one text: {column: value}")
    ((column, value),) = raw.items()
    return column, value


def _time_range(raw: Any, place: Place) -> TimeRange:
    if raw is None:
        return TimeRange()
    place.only(place.mapping(raw), {"from", "to"})
    days: list[date | None] = []
    for key in ("from", "to"):
        value = raw.get(key)
        try:
            days.append(None if value is None else date.fromisoformat(str(value)))
        except ValueError:
            raise place.error(key, value, "a date such as 2024-01-31") from None
    first, last = days
    if first and last and first > last:
        raise place.error("to", raw["to"], f"a date not before {raw['from']}")
    return TimeRange(first, last)


def _freshness(raw: Any, place: Place) -> Freshness:
    place.only(place.mapping(raw), {"warn_after", "error_after"})
    ages = {}
    for key, written in raw.items():
        age = place.at(key).mapping(written)
        count, period = age.get("count"), age.get("period")
        if age.keys() != {"count", "period"} or period not in PERIODS or type(count) is not int or count < 1:
            raise place.error(key, written, f"count, a whole number above 0, and period, one of {', '.join(PERIODS)}")
        ages[key] = count * PERIODS[period]
    if not ages:
        raise place.error("warn_after", None, "warn_after, error_after or both")
    return Freshness(**ages)


def _reference(raw: Any, table: Place) -> Reference:
    place = table.at("references")
    place.only(place.mapping(raw), {"columns", "table", "to"})
    columns = place.texts(raw, "columns")
    to = place.texts(raw, "to", default=columns)
    if not columns or len(to) != len(columns):
        raise place.error("to", raw.get("to"), "as many columns as in `columns`, of which there is at least one")
    return Reference(columns, place.text(raw, "table"), to)


def _check_table(table: Table, place: Place) -> None:
    names = {column.name: column for column in table.columns}
    for key in ("event_time", "received_time"):
        column = getattr(table, key)
        if column and (column not in names or names[column].data_type != "timestamp"):
            raise place.error(key, column, "a column of the table with data_type timestamp")
    for column in table.columns:
        if column.required_where and getattr(names.get(column.required_where[0]), "data_type", None) != "varchar":
            raise place.at(f"column {column.name}").error(
                "required", column.required_where[0], "a column of the table with data_type varchar"
            )
    equivalent = table.equivalent_to.key if table.equivalent_to else ()
    for key, columns in [("key", table.key), ("equivalent_to", equivalent)] + [
        ("references", reference.columns) for reference in table.references
    ]:
        for column in columns:
            if column not in names:
                raise place.error(key, column, f"columns of the table: {', '.join(names)}")
    if table.time_range != TimeRange() and not table.is_event:
        raise place.error("time_range", "a range", "event_date or event_time beside it, to which it applies")
    if table.has_direct and not table.pseudonym_columns:
        raise place.error(
            "pii", "direct", "a column with pii: pseudonym in the same table, as key of the identity store"
        )


def _check_references(contract: Contract) -> None:
    tables = {table.name: table for table in contract.tables}
    for table in contract.tables:
        if table.equivalent_to and table.equivalent_to.table not in tables:
            place = Place(contract.path, (f"table {table.name}", "equivalent_to"))
            raise place.error("table", table.equivalent_to.table, f"a table of the contract: {', '.join(tables)}")
        place = Place(contract.path, (f"table {table.name}", "references"))
        for reference in table.references:
            if reference.table not in tables:
                raise place.error("table", reference.table, f"a table of the contract: {', '.join(tables)}")
            there = [column.name for column in tables[reference.table].columns]
            for column in reference.to:
                if column not in there:
                    raise place.error("to", column, f"columns of {reference.table}: {', '.join(there)}")


def _check_distinct(place: Place, key: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise place.error(key, name, "every name once")
