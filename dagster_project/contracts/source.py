"""The contract of a source: its dbt sources file, read into frozen values.

One file, `dbt/models/staging/<contract>/_<contract>__sources.yml`, tells dbt and the loader the same thing. It holds
one source; what the loader needs beyond dbt's own keys lies under `config.meta`. A key not named here is an error.

Source, `config.meta`:

    contract            name of the contract; also the name of the folder that holds the file
    csv                 dialect of the text files:
        delimiter, quote, escape   one character each; defaults `,` `"` `"`; quote "" means that nothing is quoted
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

Column: `data_type` (see `TYPES`) and, in `config.meta`:

    required    true: a row without a value is refused; {column: value}: it is refused where that column of the table
                has that value
    optional    true: a file may lack the column; it is empty then
    names       what the column may be called in a file that has no column of its name; the first that is there counts.
                `*` stands for any letters, as where a platform puts its customer into the name: ["*_user_id"]
    pii         direct: the value goes to the identity store only; pseudonym: it is replaced by a keyed hash (varchar)
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
from dagster_project.contracts.reading import ContractError, Place, read_yaml

INTEGER_TYPES = frozenset({"tinyint", "smallint", "integer", "bigint", "hugeint"})
FLOAT_TYPES = frozenset({"float", "double"})
TYPES = INTEGER_TYPES | FLOAT_TYPES | {"varchar", "boolean", "date", "timestamp", "time", "uuid"}
DECIMAL = re.compile(r"decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)")
PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
RESERVED_COLUMNS = frozenset({"source", "event_date", "_file", "_record"})


@dataclass(frozen=True)
class Dialect:
    """How the text files of a contract are written; single characters, `quote` may be empty."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    null_values: tuple[str, ...] = ("",)
    header: bool = True


@dataclass(frozen=True)
class Column:
    """A column as it is delivered.

    Attributes:
        person: it says whose row it is, though it is kept as it is.
        optional: a file may lack it.
        names: what it may be called in a file instead; `*` stands for any letters.
    """

    name: str
    data_type: str
    required: bool = False
    required_where: tuple[str, str] | None = None
    pii: Literal["direct", "pseudonym"] | None = None
    description: str = ""
    person: bool = False
    optional: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """`columns` of the table that carries it point at the columns `to` of `table`."""

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]


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

    @property
    def is_event(self) -> bool:
        """Whether rows are partitioned by event date; `event_date` then holds the SQL of that date."""
        return self.event_date is not None

    @property
    def raw_columns(self) -> tuple[Column, ...]:
        """The columns that raw holds: all but direct identifiers."""
        return tuple(column for column in self.columns if column.pii != "direct")

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
        """Whether any column is direct or becomes a pseudonym."""
        return any(column.pii for column in self.columns)


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
    contract = Contract(
        name, path, _dialect(meta.get("csv", {}), place.at("csv")), tuple(_table(t, path) for t in tables)
    )
    _check_distinct(place, "tables", [table.name for table in contract.tables])
    _check_references(contract)
    return contract


def _dialect(csv: Any, place: "Place") -> Dialect:
    csv = place.mapping(csv)
    place.only(csv, {"delimiter", "quote", "escape", "null_values", "header"})
    characters = {}
    for key, default in (("delimiter", ","), ("quote", '"'), ("escape", None)):
        value = csv.get(key, default)
        if key == "escape" and value is None:
            value = characters["quote"]
        short = isinstance(value, str) and (len(value) == 1 or (value == "" and key != "delimiter"))
        if not short or not value.isascii() or value in ("\n", "\r"):
            raise place.error(key, value, "one ASCII character" + ("" if key == "delimiter" else ", or an empty text"))
        characters[key] = value
    if characters["delimiter"] in (characters["quote"], characters["escape"]):
        raise place.error("delimiter", characters["delimiter"], "another character than quote and escape")
    null_values = place.texts(csv, "null_values", default=("",))
    return Dialect(**characters, null_values=null_values, header=place.boolean(csv, "header", default=True))


def _table(raw: Any, path: Path) -> Table:
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
    }
    meta = place.meta(raw, known)
    if not isinstance(raw.get("columns"), list) or not raw["columns"]:
        raise place.error("columns", raw.get("columns"), "a list of columns")
    columns = tuple(_column(column, place) for column in raw["columns"])
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
        key=place.texts(meta, "key"),
        event_date=event_date.strip() if event_date else None,
        event_time=event_time,
        received_time=place.text(meta, "received_time", default=None),
        time_range=_time_range(meta.get("time_range"), place.at("time_range")),
        references=tuple(_reference(reference, place) for reference in meta.get("references", [])),
        files=place.texts(meta, "files"),
        optional=place.boolean(meta, "optional", default=False),
        freshness=_freshness(meta["freshness"], place.at("freshness")) if "freshness" in meta else None,
        description=str(raw.get("description", "")).strip(),
    )
    _check_table(table, place)
    return table


def _column(raw: Any, table: "Place") -> Column:
    name = table.at("column").text(table.at("column").mapping(raw), "name")
    place = table.at(f"column {name}")
    meta = place.meta(raw, {"required", "pii", "person", "optional", "names"})
    if name.lower() in RESERVED_COLUMNS or name.lower().startswith("_text") or not name.isprintable():
        raise place.error("name", name, f"printable, none of {', '.join(sorted(RESERVED_COLUMNS))}, not _text…")
    data_type = place.text(raw, "data_type").lower()
    if data_type not in TYPES and not DECIMAL.fullmatch(data_type):
        raise place.error("data_type", data_type, f"one of {', '.join(sorted(TYPES))}, decimal(p, s)")
    pii = meta.get("pii")
    if pii not in (None, "direct", "pseudonym"):
        raise place.error("pii", pii, "direct or pseudonym")
    if pii == "pseudonym" and data_type != "varchar":
        raise place.error("data_type", data_type, "varchar, since a pseudonym is a text")
    required, required_where = False, None
    if isinstance(meta.get("required"), Mapping):
        required_where = _condition(meta["required"], place)
    else:
        required = place.boolean(meta, "required", default=False)
    person = place.boolean(meta, "person", default=False)
    if person and pii:
        raise place.error("person", person, f"nothing beside pii: {pii}, which says as much")
    optional = place.boolean(meta, "optional", default=False)
    if optional and (required or required_where or pii or person):
        raise place.error(
            "optional", optional, "nothing beside required, pii or person: such a column cannot be missing"
        )
    description = str(raw.get("description", "")).strip()
    names = place.texts(meta, "names")
    return Column(name, data_type, required, required_where, pii, description, person, optional, names)


def _condition(raw: Mapping, place: "Place") -> tuple[str, str]:
    if len(raw) != 1 or not all(isinstance(part, str) for pair in raw.items() for part in pair):
        raise place.error("required", dict(raw), "true, false, or one column with one text: {column: value}")
    ((column, value),) = raw.items()
    return column, value


def _time_range(raw: Any, place: "Place") -> TimeRange:
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


def _freshness(raw: Any, place: "Place") -> Freshness:
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


def _reference(raw: Any, table: "Place") -> Reference:
    place = table.at("references")
    place.only(place.mapping(raw), {"columns", "table", "to"})
    columns = place.texts(raw, "columns")
    to = place.texts(raw, "to", default=columns)
    if not columns or len(to) != len(columns):
        raise place.error("to", raw.get("to"), "as many columns as in `columns`, of which there is at least one")
    return Reference(columns, place.text(raw, "table"), to)


def _check_table(table: Table, place: "Place") -> None:
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
    for key, columns in [("key", table.key)] + [("references", reference.columns) for reference in table.references]:
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
        place = Place(contract.path, (f"table {table.name}", "references"))
        for reference in table.references:
            if reference.table not in tables:
                raise place.error("table", reference.table, f"a table of the contract: {', '.join(tables)}")
            there = [column.name for column in tables[reference.table].columns]
            for column in reference.to:
                if column not in there:
                    raise place.error("to", column, f"columns of {reference.table}: {', '.join(there)}")


def _check_distinct(place: "Place", key: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise place.error(key, name, "every name once")
