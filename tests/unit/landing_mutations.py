"""Landing files as the world delivers them: files of a contract, and what can happen to them on the way."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from dagster_project.contracts.source import FLOAT_TYPES, INTEGER_TYPES, Column, Contract, Dialect, Table
from tests.unit.landing_files import gzipped

LONG = 70_000  # more than the splitter looks at in one piece of a small file
PIECES = [
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\\", b"'", b";", b"\t", b"\xff", b"\xc3\x28", b"\xef\xbb\xbf"),
    *(b"\xed\xa0\x80", b"\xe2\x80\xa8", b"NaN", b"-", b"1e999", b"0x1F", b"?", b"null", b"\n\n", b'",\n"', b'x"y'),
    *(b"99999999999999999999", b"2024-02-30", b"0000-00-00", b"294247-01-01", b"-infinity", b"x" * LONG),
]


@dataclass(frozen=True)
class Delivery:
    """One landing file.

    Attributes:
        name: below the landing folder.
        data: its bytes.
        line_count: records that a reader of lines would count; None where quotes or containers make lines uncertain.
    """

    name: str
    data: bytes
    line_count: int | None = None


def good_file(contract: Contract, table: Table, kind: str) -> bytes:
    """Three good rows of a table, as csv or parquet."""
    rows = [[_good_value(column, index) for column in table.columns] for index in range(3)]
    if kind == "parquet":
        names = [column.name for column in table.columns]
        return _parquet(pa.table([pa.array(list(column), pa.string()) for column in zip(*rows, strict=True)], names))
    if table.form.json:
        return _json(table, rows).encode()
    names = [column.name for column in table.columns]
    return _text(table.form.dialect, names, rows, "\n", quote_all=False).encode(table.form.encoding)


def file_name(table: Table, ending: str) -> str:
    """A name by which a file is the table's; where its contract tells names, the first one of its kind."""
    if not table.files:
        return f"{table.name}{'.jsonl' if table.form.json and ending.startswith('.csv') else ending}"
    of_kind = [pattern for pattern in table.files if ending == ".parquet" and pattern.endswith(ending)]
    name = (of_kind or table.files)[0].replace("**/", "").replace("*", "1").replace("?", "1")
    return name if of_kind or ending == ".csv" else name + ending.removeprefix(".csv")


def deliveries(contract: Contract, table: Table) -> st.SearchStrategy[Delivery]:
    """Files that are nearly of the table: text, packed text, Parquet, or any bytes under such a name."""
    anything = st.builds(
        Delivery,
        st.sampled_from([file_name(table, ending) for ending in (".csv", ".parquet", ".csv.gz", ".csv.zst", ".zip")]),
        st.binary(max_size=300),
    )
    if table.form.json:
        return st.one_of(_json_files(table), _json_files(table), _parquet_files(table), anything)
    return st.one_of(_text_files(contract, table), _packed_files(contract, table), _parquet_files(table), anything)


# --- values


def _good_value(column: Column, index: int) -> str:
    if column.name == "code_presentation":  # OULAD's event date is counted from it
        return ["2013B", "2013J", "2014B"][index]
    if column.data_type in INTEGER_TYPES | FLOAT_TYPES or column.data_type.startswith("decimal"):
        return str(index + 1)
    return {"boolean": "true", "date": "2024-01-31", "timestamp": f"2024-01-0{index + 1} 10:00:00"}.get(
        column.data_type, f"{column.name} {index}"
    )


def _values(column: Column) -> st.SearchStrategy[str]:
    strange = ["", " ", "?", "a,b", 'say "x"', "line\nbreak", "Ωmega", "🙂", "=1+1", "'; drop table x; --", "\\N"]
    types = {
        "boolean": ["true", "false", "1", "no", "TRUE", "maybe"],
        "date": [
            "2024-02-29",
            "2023-02-29",
            "31.12.2024",
            "9999-12-31",
            "0001-01-01",
            "infinity",
            "5877642-06-25 (BC)",
        ],
        "timestamp": [
            *("2024-01-31 10:00:00", "2024-01-31T10:00:00Z", "2024-01-31 10:00+02", "1969-12-31 23:59:59.999999"),
            *(
                "294247-01-10 04:00:54.775806",
                "epoch",
                "-infinity",
                "2024-06-30 23:59:60",
                "290309-12-22 (BC) 00:00:00",
            ),
        ],
    }
    numbers = ["0", "-1", "1.5", "1e3", "1e400", "nan", "inf", " 7 ", "+3", "2147483648", "9223372036854775808", "0x1F"]
    typed = types.get(column.data_type, numbers if column.data_type != "varchar" else ["x", "-", "None", "null"])
    usual = st.integers(0, 2).map(lambda index: _good_value(column, index))
    return st.one_of(usual, usual, usual, st.sampled_from(typed), st.sampled_from(strange), st.text(max_size=8))


@st.composite
def _rows(draw: st.DrawFn, columns: list[Column]) -> list[str]:
    """A good row, one with a strange value, or one of strange values."""
    row = [_good_value(column, draw(st.integers(0, 2))) for column in columns]
    strange = draw(st.sampled_from(["none", "none", "one", "one", "all"]))
    places = [draw(st.integers(0, len(row) - 1))] if strange == "one" else range(len(row)) if strange == "all" else []
    for place in places:
        row[place] = draw(_values(columns[place]))
    return row


# --- text


@st.composite
def _texts(draw: st.DrawFn, contract: Contract, table: Table) -> bytes:
    """A text file: rows of the contract, the header in any order, perhaps with a wrong column or a ragged row."""
    columns = list(table.columns)
    if table.form.dialect.header and not table.form.columns_by_position:
        columns = draw(st.one_of(st.just(columns), st.permutations(columns)))
    rows = draw(st.lists(_rows(columns), max_size=6))
    names = [column.name for column in columns]
    change = draw(st.sampled_from(["none"] * 12 + ["drop", "rename", "repeat", "extra", "extra", "ragged", "ragged"]))
    place = draw(st.integers(0, len(names) - 1))
    if change == "drop":
        names, rows = names[:place] + names[place + 1 :], [row[:place] + row[place + 1 :] for row in rows]
    elif change == "rename":
        names[place] = draw(st.sampled_from([names[place].upper(), names[place] + "s", f" {names[place]} ", ""]))
    elif change in ("repeat", "extra"):
        names.append(
            names[place] if change == "repeat" else draw(st.sampled_from(["new", "_record", "event_date", ""]))
        )
        rows = [[*row, "x"] for row in rows]
    elif change == "ragged" and rows:
        row = draw(st.integers(0, len(rows) - 1))
        rows[row] = rows[row][:place] if draw(st.booleans()) else [*rows[row], "more"]
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = _text(table.form.dialect, names, rows, line_end, quote_all=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.removesuffix(line_end)
    encoding = draw(st.sampled_from([table.form.encoding] * 8 + ["utf-8-sig", "latin-1", "utf-16", "cp1252"]))
    return text.encode(encoding, errors="replace")


def _text(dialect: Dialect, names: list[str], rows: list[list[str]], line_end: str, *, quote_all: bool) -> str:
    def field(value: str) -> str:
        value = value.encode(errors="replace").decode()
        special = any(character in value for character in (dialect.delimiter, dialect.quote or "\n", "\n", "\r"))
        if not dialect.quote:
            return "x" if special else value
        return f'"{value.replace(dialect.quote, dialect.escape + dialect.quote)}"' if quote_all or special else value

    lines = [names, *rows] if dialect.header else rows
    return "".join(dialect.delimiter.join(map(field, row)) + line_end for row in lines)


# --- JSON


def _json(table: Table, rows: list[list[str]]) -> str:
    """Records with the values at the first path of each column, in an array or one in each line."""
    form = table.form.json
    assert form is not None
    records = []
    for row in rows:
        record: dict = {}
        for column, value in zip(table.columns, row, strict=True):
            if column.paths and all(isinstance(step, str) for step in column.paths[0]) and column.paths[0]:
                *parents, key = column.paths[0]
                place = record
                for parent in parents:
                    place = place.setdefault(parent, {})
                    if not isinstance(place, dict):
                        break
                else:
                    place.setdefault(key, value)
        for path in form.stringified:
            if len(path) == 1 and path[0] in record and len(row[0]) % 2:
                record[path[0]] = json.dumps(record[path[0]])
        records.append(record)
    if form.is_array:
        return json.dumps(records)
    return "".join(("prefix - " if form.record_from else "") + json.dumps(record) + "\n" for record in records)


@st.composite
def _json_files(draw: st.DrawFn, table: Table) -> Delivery:
    """Records of the contract, perhaps with strange values, perhaps spoilt and packed."""
    rows = draw(st.lists(_rows(list(table.columns)), max_size=6))
    rows = [[value.encode(errors="replace").decode() for value in row] for row in rows]
    data = draw(_spoilt(_json(table, rows).encode(table.form.encoding, errors="replace")))
    form = table.form.json
    assert form is not None
    count = None if form.is_array else sum(1 for line in _without_mark(data).split(b"\n") if line.rstrip(b"\r"))
    packing = draw(st.sampled_from(["", "", "", ".gz", ".zst"]))
    if packing:
        data = gzipped(data) if packing == ".gz" else pa.compress(data, codec="zstd", asbytes=True)
    return Delivery(file_name(table, ".csv" + packing), data, count)


def _without_mark(data: bytes) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf")


@st.composite
def _spoilt(draw: st.DrawFn, data: bytes, pieces: list[bytes] = PIECES) -> bytes:
    """Bytes after up to four accidents: something put in, replaced, lost, repeated, or cut off."""
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        accident = draw(st.sampled_from(["insert", "insert", "replace", "lose", "repeat", "cut"]))
        if accident == "insert":
            data = data[:start] + draw(st.sampled_from(pieces)) + data[start:]
        elif accident == "replace":
            data = data[:start] + draw(st.binary(min_size=1, max_size=3)) + data[start + 1 :]
        elif accident == "lose":
            data = data[:start] + data[end:]
        elif accident == "repeat":
            data = data[:end] + data[start:]
        else:
            data = data[:start]
    return data


@st.composite
def _text_files(draw: st.DrawFn, contract: Contract, table: Table) -> Delivery:
    data = draw(_spoilt(draw(_texts(contract, table))))
    if draw(st.integers(0, 9)) == 0:  # many lines: whole chunks of them are recognised at once
        body = data.partition(b"\n")[2]
        data += body * (LONG // max(len(body), 1) if len(body) > 40 else 0)
    return Delivery(file_name(table, ".csv"), data, _line_count(data, table.form.dialect))


def _line_count(data: bytes, dialect: Dialect) -> int | None:
    """Lines with content below the header, where nothing is quoted and line ends are those of the first line."""
    if (dialect.quote and dialect.quote.encode() in data) or not dialect.header:
        return None
    if b"\r" in data.replace(b"\r\n", b"\n"):
        return None
    return sum(1 for line in data.replace(b"\r\n", b"\n").split(b"\n")[1:] if line)


# --- containers


@st.composite
def _packed_files(draw: st.DrawFn, contract: Contract, table: Table) -> Delivery:
    data = draw(_texts(contract, table))
    name = file_name(table, ".csv")
    kind = draw(st.sampled_from(["gz", "zip", "zip", "gz in zip"]))
    if kind == "gz":
        packed = gzipped(data)
        if draw(st.booleans()):
            packed += gzipped(data)  # two parts one after the other are one file
    else:
        members = {name if kind == "zip" else f"{name}.gz": data if kind == "zip" else gzipped(data)}
        other = draw(
            st.sampled_from(["", f"../{name}", f"/{name}", f"sub/{name}", f"{name}.gz", "c:\\x.csv", f"{table.name}/"])
        )
        members |= {other: data[: len(data) // 2]} if other else {}
        packed = _zip(members, draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA])))
    bytes_of_headers = [b"PK\x01\x02", b"PK\x05\x06", b"\x1f\x8b\x08", b"\xff\xff\xff\xff", b"\0"]
    packed = draw(_spoilt(packed, bytes_of_headers))
    return Delivery(f"{name}.gz" if kind == "gz" else "delivery.zip", packed)


def _zip(members: dict[str, bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


# --- Parquet


@st.composite
def _parquet_files(draw: st.DrawFn, table: Table) -> Delivery:
    """A Parquet file with columns of any type, perhaps one missing, perhaps damaged."""
    columns = draw(st.permutations(table.columns))
    rows = draw(st.lists(_rows(list(columns)), max_size=5))
    is_typed = draw(st.booleans())
    accident = draw(st.sampled_from(["none"] * 5 + ["other", "other", "missing", "repeat"]))
    place = draw(st.integers(0, len(columns) - 1))
    names, arrays = [], []
    for number, column in enumerate(columns):
        if number == place and accident == "missing":
            continue
        texts = [row[number].encode(errors="replace").decode() or None for row in rows]
        array = pa.array(texts, pa.string())
        if is_typed:
            array = _typed_array(draw, column, array)
        if number == place and accident == "other":
            array = _other_array(draw, len(rows))
        arrays.append(array)
        names.append(column.name)
        if number == place and accident == "repeat":
            arrays.append(array)
            names.append(draw(st.sampled_from([column.name, column.name.upper(), "_record", "file_row_number", ""])))
    data = _parquet(pa.table(arrays, names), draw(st.sampled_from(["snappy", "zstd", "none"])))
    return Delivery(f"{table.name}.parquet", draw(_spoilt(data, [b"PAR1", b"\0", b"\xff\xff\xff\x7f", b"\x15\x04"])))


def _typed_array(draw: Callable, column: Column, texts: pa.Array) -> pa.Array:
    """Values of the column's type, any that it can hold; the texts where it has none of its own."""
    zone = draw(st.sampled_from([None, "UTC", "Europe/Oslo"]))
    usual = st.datetimes(datetime(2016, 1, 1), datetime(2024, 1, 1))
    kinds: dict[str, tuple[pa.DataType, st.SearchStrategy]] = {
        "boolean": (pa.bool_(), st.booleans()),
        "date": (pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
        "timestamp": (pa.timestamp("us", zone), st.one_of(usual, usual, st.datetimes())),
        "integer": (pa.int32(), st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1))),
        "bigint": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        "double": (pa.float64(), st.floats()),
    }
    if column.data_type not in kinds:
        return texts
    kind, values = kinds[column.data_type]
    if not column.required:
        values = st.one_of(st.none(), values)
    return pa.array([draw(values) for _ in range(len(texts))], kind)


def _other_array(draw: Callable, count: int) -> pa.Array:
    kinds: list[tuple[pa.DataType, object]] = [
        (pa.list_(pa.int32()), [1, 2]),
        (pa.struct([("a", pa.string())]), {"a": "x"}),
        (pa.binary(), b"\xff\x00"),
        (pa.decimal128(38, 10), 1),
        (pa.float32(), 1.5),
        (pa.uint64(), 2**64 - 1),
        (pa.int8(), 1),
        (pa.time64("us"), 1),
        (pa.duration("s"), 1),
        (pa.null(), None),
        (pa.dictionary(pa.int8(), pa.string()), "x"),
        (pa.timestamp("ns"), 2**62),
    ]
    kind, value = draw(st.sampled_from(kinds))
    return pa.array([value] * count, kind)


def _parquet(table: pa.Table, compression: str = "snappy") -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression)
    return out.getvalue()
