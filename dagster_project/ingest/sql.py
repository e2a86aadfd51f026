"""The SQL that turns one landing file into typed rows, generated from its contract.

Names from contracts and files become quoted identifiers, everything else quoted literals. Paths that reach the engine
are made by the loader. Every file is read as text, one relation whatever its format: `_record` (1-based) and `_text0`,
`_text1`, … for the contract's columns; casts, checks and the event date build on it. A Parquet column that has its type
already comes as `_value0`, … too: to write a timestamp as text and read it again costs more than all the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_project.base.sql import identifier, literal
from dagster_project.contracts.source import FLOAT_TYPES, INTEGER_TYPES, Column, Dialect, Table
from dagster_project.ingest.columns import Positions
from dagster_project.ingest.identity import pseudonym_sql
from dagster_project.ingest.records import MAXIMUM_RECORD

SHOWN_CHARACTERS = 100
"""How much of an offending value a reason shows."""
ROW_NUMBER = "file_row_number"
"""The engine's column with the place of a row in a Parquet file, from 0."""
MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000}
ESCAPES = {"t": 9, "n": 10, "r": 13, "b": 8, "Z": 26}
"""Letters that MySQL writes behind its escape for control characters, and their codes."""


def text_relation(path: Path, table: Table, positions: Positions, fields: int, *, header: bool) -> str:
    """The records of a text file; `positions` are those of the contract's columns among its `fields`."""
    dialect = table.form.dialect
    columns = ", ".join(f"'f{position}': 'varchar'" for position in range(fields))
    null_values = ", ".join(literal(value) for value in dialect.null_values)
    texts = [
        "cast(null as varchar)" if position is None else delivered_text(f"f{position}", column, dialect)
        for column, position in zip(table.columns, positions, strict=True)
    ]
    chosen = "".join(f", {text} as _text{index}" for index, text in enumerate(texts))
    return (
        f"select row_number() over () as _record{chosen} from read_csv({literal(path)}, auto_detect = false, "
        f"header = {str(header).lower()}, columns = {{{columns}}}, delim = {literal(dialect.delimiter)}, "
        f"quote = {literal(dialect.quote)}, escape = {literal(dialect.escape if dialect.quote else '')}, "
        f"nullstr = [{null_values}], allow_quoted_nulls = true, strict_mode = true, null_padding = false, "
        f"max_line_size = {MAXIMUM_RECORD})"
    )


def delivered_text(text: str, column: Column, dialect: Dialect) -> str:
    """SQL of a field's text without what stands for a missing value in its column, its escapes resolved."""
    if column.null_values:
        text = without(text, column.null_values)
    if dialect.has_escapes:
        escape = dialect.escape
        resolved = "part"
        for letter, code in ESCAPES.items():
            resolved = f"replace({resolved}, {literal(escape + letter)}, chr({code}))"
        parts = f"list_transform(string_split({text}, {literal(escape * 2)}), lambda part: {resolved})"
        joined = f"array_to_string({parts}, {literal(escape)})"
        text = f"case when contains({text}, {literal(escape)}) then {joined} else {text} end"
    return text


def without(text: str, null_values: Iterable[str]) -> str:
    """SQL of a text that is null where it is one of these."""
    null_values = list(map(literal, null_values))
    if len(null_values) == 1:
        return f"nullif({text}, {null_values[0]})"
    return f"case when {text} not in ({', '.join(null_values)}) then {text} end"


def parquet_relation(path: Path, table: Table, columns: tuple[str | None, ...]) -> str:
    """The records of a Parquet file; `columns` are its names for the contract's columns, None for one that it lacks."""
    values = ["null" if column is None else identifier(column) for column in columns]
    texts = [f"cast({value} as varchar)" for value in values]
    for index, column in enumerate(table.columns):
        if null_values := (*table.form.dialect.null_values, *column.null_values):
            texts[index] = without(texts[index], null_values)
    chosen = "".join(
        f", {text} as _text{index}, {value} as _value{index}"
        for index, (text, value) in enumerate(zip(texts, values, strict=True))
    )
    return f"select {ROW_NUMBER} + 1 as _record{chosen} from read_parquet({literal(path)}, {ROW_NUMBER} = true)"


def typed_columns(table: Table, types: tuple[str | None, ...]) -> frozenset[int]:
    """Indexes of the contract's columns that a Parquet file holds in their type, so that they need no cast.

    Args:
        types: the engine's names of the file's types, in the contract's order; None for a column that it lacks.
    """
    if set(table.form.dialect.null_values) - {""}:  # a number or a date may stand for a missing value
        return frozenset()
    return frozenset(
        index
        for index, (column, found) in enumerate(zip(table.columns, types, strict=True))
        if found and found.lower() == column.data_type != "varchar" and not (column.pii or column.null_values)
    )


@dataclass(frozen=True)
class TableSql:
    """Queries over one file of a table.

    Args:
        table: the contract's table.
        relation: from `text_relation` or `parquet_relation`.
        file: logical name of the file.
        excluded: relations with a column `record`, of records to leave out.
        typed: from `typed_columns`; none of a text file.
    """

    table: Table
    relation: str
    file: str
    excluded: tuple[str, ...] = ()
    typed: frozenset[int] = frozenset()

    def accepted(self) -> str:
        """Rows for raw: the contract's columns but direct ones, `_file`, `_record` and, for events, `event_date`."""
        columns = [identifier(column.name) for column in self.table.raw_columns] + [self._file(), "_record"]
        if self.table.is_event:
            columns.append("event_date")
        return f"select {', '.join(columns)} from ({self._dated()}) where {self._is_acceptable()}"

    def identities(self) -> str:
        """Rows for the identity store: pseudonyms, direct identifiers, `_file`, `_record` of the accepted rows."""
        columns = [identifier(column.name) for column in (*self.table.pseudonym_columns, *self.table.direct_columns)]
        return (
            f"select {', '.join(columns)}, {self._file()}, _record from ({self._dated()}) where {self._is_acceptable()}"
        )

    def refused(self) -> str:
        """`_record` and `reason` of the rows that are not accepted, in the file's order."""
        reasons = []
        for index, column in enumerate(self.table.columns):
            shown = "'***'" if column.is_masked else f"'''' || left(_text{index}, {SHOWN_CHARACTERS}) || ''''"
            if column.required or column.required_where:
                where = " where {} is {}".format(*column.required_where) if column.required_where else ""
                required = literal(f"column {column.name}: a value is required{where}")
                reasons.append(f"case when {self._is_missing(column, index)} then {required} end")
            if wrong := self._is_wrong(column, index):
                reasons.append(
                    f"case when {wrong} then {literal(f'column {column.name}: ')} || {shown} || "
                    f"{literal(f' is not of type {_kind(column)}')} end"
                )
        row_reason = f"nullif(concat_ws('; ', {', '.join(reasons)}), '')" if reasons else "null"
        return (
            f"select _record, coalesce({row_reason}, {self._date_reason()}) as reason from ({self._dated()}) "
            f"where not ({self._is_acceptable()}) order by _record"
        )

    def pseudonyms(self) -> str | None:
        """Statement that computes the pseudonym of every distinct value; None without such columns.

        `accepted` and `refused` look them up: persons recur in rows, and a hash costs more than a look-up.
        """
        texts = [f"_text{index}" for index, column in enumerate(self.table.columns) if column.pii == "pseudonym"]
        if not texts:
            return None
        values = f"select distinct unnest([{', '.join(texts)}]) as plain from ({self.remaining()})"
        return (
            f"create table pseudonyms as select plain, {pseudonym_sql('plain')} as pseudonym "
            f"from ({values}) where plain is not null"
        )

    def count(self) -> str:
        """Number of rows that the engine reads, those of `excluded` not among them."""
        return f"select count(*) from ({self.remaining()})"

    def event_date_check(self) -> str:
        """A query without rows that fails when the contract's event date does not fit its columns."""
        return f"select event_date from ({self._dated()}) limit 0"

    def _file(self) -> str:
        # An enum of one value reads back as varchar and spares the engine a text per row.
        return f"cast({literal(self.file)} as enum({literal(self.file)})) as _file"

    def remaining(self) -> str:
        """The relation without the excluded records."""
        if not self.excluded:
            return self.relation
        conditions = " and ".join(f"_record not in (select record from {name})" for name in self.excluded)
        return f"select * from ({self.relation}) where {conditions}"

    def _typed_columns(self) -> str:
        return ", ".join(
            f"{self._typed(column, index)} as {identifier(column.name)}"
            for index, column in enumerate(self.table.columns)
        )

    def _dated(self) -> str:
        event_date = f", {self._event_date()} as event_date" if self.table.is_event else ""
        looked_up = "".join(
            f" left join pseudonyms as _person{index} on _row._text{index} = _person{index}.plain"
            for index, column in enumerate(self.table.columns)
            if column.pii == "pseudonym"
        )
        typed = f"select _row.*, {self._typed_columns()} from ({self.remaining()}) as _row{looked_up}"
        return f"select *{event_date} from ({typed})"

    def _event_date(self) -> str:
        return f"try(cast({self.table.event_date} as date))"

    def _is_acceptable(self) -> str:
        conditions = [
            f"not ({self._is_missing(column, index)})"
            for index, column in enumerate(self.table.columns)
            if column.required or column.required_where
        ]
        for index, column in enumerate(self.table.columns):
            if wrong := self._is_wrong(column, index):
                conditions.append(f"not ({wrong})")
        if self.table.is_event:
            first, last = self._permitted_dates()
            conditions.append(f"coalesce(event_date between date '{first}' and date '{last}', false)")
        return " and ".join(conditions) or "true"

    def _is_missing(self, column: Column, index: int) -> str:
        """Whether a row lacks the value that the contract requires of it."""
        is_empty = f"{'_value' if index in self.typed else '_text'}{index} is null"
        if column.required_where is None:
            return is_empty
        other, value = column.required_where
        return f"{is_empty} and coalesce({identifier(other)} = {literal(value)}, false)"

    def _typed(self, column: Column, index: int) -> str:
        return f"_value{index}" if index in self.typed else _typed(column, index)

    def _is_wrong(self, column: Column, index: int) -> str | None:
        if index not in self.typed:
            return _is_wrong(column, index)
        has_infinity = column.data_type in FLOAT_TYPES or column.data_type in ("date", "timestamp")
        return f"_value{index} is not null and not isfinite(_value{index})" if has_infinity else None

    def _permitted_dates(self) -> tuple[date, date]:
        return self.table.time_range.first or date.min, self.table.time_range.last or date.max

    def _date_reason(self) -> str:
        if not self.table.is_event:
            return "null"
        first, last = self._permitted_dates()
        return (
            "coalesce('event date ' || cast(event_date as varchar) || "
            f"{literal(f' is outside of the permitted range, {first} to {last}')}, "
            "'the event date cannot be told from the row')"
        )


def empty_relation(table: Table) -> str:
    """No rows, with the columns and types of the table's files in raw."""
    columns = [f"cast(null as {column.data_type}) as {identifier(column.name)}" for column in table.raw_columns]
    return f"select {', '.join(columns)}, cast(null as varchar) as _file, cast(null as bigint) as _record limit 0"


def copy_to_parquet(query: str, path: Path, *, by_event_date: bool = False) -> str:
    """Statement that writes a query to a file, or to a folder with a sub-folder for each event date."""
    options = "format parquet, parquet_version v2"  # half the size of v1, at the same cost
    if by_event_date:
        options += ", partition_by (event_date), filename_pattern 'part{i}'"
    else:
        options += ", use_tmp_file false"  # who replaces a file has one of its own; another one would outlive a kill
    return f"copy ({query}) to {literal(path)} ({options})"


def _typed(column: Column, index: int) -> str:
    if column.pii == "pseudonym":
        return f"_person{index}.pseudonym"
    if column.part:
        return f"nullif(regexp_extract(_text{index}, {literal(column.part)}, 1), '')"
    if column.data_type == "varchar":
        return f"_text{index}"
    if column.data_type == "timestamp":
        # A direct cast would drop the offset of '2024-01-31 10:00+02'; the session's time zone is UTC.
        moment = f"timezone('UTC', try_cast(_text{index} as timestamptz))"
        if column.unix_time is None:
            return moment
        microseconds = f"try_cast(_text{index} as decimal(28, 6)) * {MICROSECONDS[column.unix_time]}"
        unix = f"try(make_timestamp(try_cast(round({microseconds}) as bigint)))"
        is_number = f"regexp_full_match(_text{index}, '\\s*[+-]?[0-9]+(\\.[0-9]*)?\\s*')"
        return f"case when {is_number} then {unix} else {moment} end"
    return f"try_cast(_text{index} as {column.data_type})"


def _kind(column: Column) -> str:
    return "json" if column.is_json else column.data_type


def _is_wrong(column: Column, index: int) -> str | None:
    """Condition under which a value is there and not of its type; None where every text is."""
    if column.is_json:
        return f"_text{index} is not null and not is_strict_json(_text{index})"
    if column.pii == "pseudonym" or column.data_type == "varchar":
        return None
    typed = identifier(column.name)
    if column.data_type in INTEGER_TYPES:
        # A cast would round '1.5' and read '0x1F'. Most texts equal their number's; the pattern looks at the others.
        usual = f"cast({typed} as varchar) = _text{index}"
        unusual = f"regexp_full_match(_text{index}, '\\s*[+-]?[0-9]+(\\.0*)?\\s*')"
        return f"_text{index} is not null and ({typed} is null or not ({usual} or {unusual}))"
    if column.data_type in FLOAT_TYPES or column.data_type in ("date", "timestamp"):
        return f"_text{index} is not null and ({typed} is null or not isfinite({typed}))"
    return f"_text{index} is not null and {typed} is null"


def parquet_rows_as_json(path: Path, columns: dict[str, bool]) -> str:
    """`_record` and JSON text of the rows of a Parquet file that are in the table `refused_rows`, in its order.

    Args:
        columns: the file's columns; True masks the values of one.
    """
    fields = ", ".join(
        f"{literal(column)}, "
        + (f"case when {identifier(column)} is not null then '***' end" if masked else identifier(column))
        for column, masked in columns.items()
    )
    return (
        f"select {ROW_NUMBER} + 1 as _record, cast(json_object({fields}) as varchar) "
        f"from read_parquet({literal(path)}, {ROW_NUMBER} = true) "
        f"where {ROW_NUMBER} + 1 in (select _record from refused_rows) order by 1"
    )
