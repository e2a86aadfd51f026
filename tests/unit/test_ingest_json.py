"""JSON records: every line is accepted or refused with its bytes, and each column holds what lies at its path."""

import hashlib
import json
from datetime import datetime

import pyarrow as pa
import pytest

from dagster_project.contracts.reading import ContractError
from tests.unit.landing_files import Bench, contract_from, gzipped

LOG = """
sources:
  - name: raw_platform
    config: {meta: {contract: platform}}
    tables:
      - name: events
        config:
          meta:
            delivery: append
            format: jsonl
            record_from: "{"
            key: hash_of_record
            event_time: occurred_at
            stringified: [event]
            drop_paths: [event.body, context.email]
            max_record_bytes: 5000
        columns:
          - {name: record_hash, data_type: varchar, config: {meta: {required: true, path: "#hash"}}}
          - {name: verb, data_type: varchar, config: {meta: {required: true, path: [name, event_type]}}}
          - {name: learner, data_type: varchar, config: {meta: {pii: pseudonym, path: [username, context.username]}}}
          - {name: course, data_type: varchar, config: {meta: {path: ["context['https://x.org/c']", context.course]}}}
          - {name: target, data_type: varchar, config: {meta: {path: [event.id]}}}
          - {name: seconds, data_type: double, config: {meta: {path: ["event.times[1]"]}}}
          - {name: occurred_at, data_type: timestamp, config: {meta: {required: true, path: [time]}}}
          - {name: event, data_type: varchar, config: {meta: {path: [event]}}}
          - {name: body, data_type: varchar, config: {meta: {path: "$"}}}
"""
PLAIN = """
sources:
  - name: raw_plain
    config: {meta: {contract: plain}}
    tables:
      - name: things
        config: {meta: {delivery: append, format: jsonl, max_record_bytes: 200}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
          - {name: value, data_type: varchar}
"""
ARRAY = PLAIN.replace("format: jsonl", "format: json_array, unwrap: [statements, more.rows]")
WRAPPED = PLAIN.replace("format: jsonl", "format: jsonl, unwrap: [event, a.b]")
PREFIX = b"2024-01-31 10:00:00,123 INFO 17 [tracking] [user 7] [ip 10.0.0.7] logger.py:41 - "


def line(**record) -> bytes:
    record = {"name": "play", "username": "ann", "time": "2024-01-31T10:00:00Z", "context": {"course": "c1"}} | record
    return PREFIX + json.dumps(record).encode() + b"\n"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, LOG)


@pytest.fixture
def plain(tmp_path):
    return Bench(tmp_path, PLAIN)


def values(bench, table="events"):
    names = [column.name for column in bench.contract.table(table).raw_columns]
    return [dict(zip(names, row, strict=False)) for row in bench.rows(table)]


def test_columns_hold_what_lies_at_their_paths(bench):
    bench.deliver(
        "events.log",
        line(event={"id": "v1", "times": [1, 2.5], "body": "secret"})
        + line(event=json.dumps({"id": "v2", "times": [1, 3], "body": "secret"}), name=None, event_type="load")
        + line(event=json.dumps(json.dumps({"id": "v3"})), context={"https://x.org/c": "c2", "course": "c3"})
        + line(event="input_1=secret", username="", context={"username": "bob", "email": "b@x.org"}),
    )
    load = bench.load("events")
    assert (load.accepted, load.refused) == (4, 0)
    first, second, third, fourth = values(bench)
    assert [row["verb"] for row in values(bench)] == ["play", "load", "play", "play"]
    assert [row["target"] for row in values(bench)] == ["v1", "v2", "v3", None]
    assert [row["seconds"] for row in values(bench)] == [2.5, 3.0, None, None]
    assert [row["course"] for row in values(bench)] == ["c1", "c1", "c2", None]
    assert first["occurred_at"] == datetime(2024, 1, 31, 10)
    assert first["learner"] == second["learner"] != fourth["learner"]
    assert len(fourth["learner"]) == 32
    assert json.loads(first["event"]) == {"id": "v1", "times": [1, 2.5]}
    assert json.loads(third["event"]) == {"id": "v3"}
    assert fourth["event"] is None  # no JSON, and what is dropped may stand in it


def test_the_whole_record_is_without_dropped_and_personal_paths_and_its_strings_are_json(bench):
    bench.deliver(
        "events.log",
        line(event=json.dumps({"id": "v2", "empty": None, "body": "secret"}))
        + line(event="input_1=secret", context={"username": "ann", "email": "ann@x.org", "kept": 1})
        + b'{"name": "x", "time": "2024-01-31 10:00", "\\u0075sername": "ann", "event": {"b\\u006fdy": "secret"}}\n',
    )
    bench.load("events")
    first, second, third = (json.loads(row["body"]) for row in values(bench))
    assert first == {
        "name": "play",
        "time": "2024-01-31T10:00:00Z",
        "context": {"course": "c1"},
        "event": {"id": "v2", "empty": None},
    }
    assert second == {"name": "play", "time": "2024-01-31T10:00:00Z", "context": {"kept": 1}}
    assert third == {"name": "x", "time": "2024-01-31 10:00", "event": {}}
    for path in bench.settings.raw_dir.rglob("*.parquet"):
        content = path.read_bytes()
        assert b"secret" not in content
        assert b"ann" not in content.replace(b"channel", b"")


def test_a_key_that_is_there_twice_hides_nothing(bench):
    bench.deliver(
        "events.log",
        b'{"name": "x", "time": "2024-01-31 10:00", "context": {"email": "secret", "a": 1}, '
        b'"context": {"email": "secret"}, '
        b'"event": {"body": "secret"}, "event": {"body": "secret", "body": "secret"}, '
        b'"username": 1, "username": "secret"}\n'
        b'{"name": "x", "time": "2024-01-31 10:00", "context": 1, "context": {"email": "secret"}}\n',
    )
    bench.load("events")
    assert [json.loads(row["body"]).get("context") for row in values(bench)] == [{"a": 1}, 1]
    assert "secret" not in str(bench.rows("events"))


def test_the_hash_is_of_the_bytes_from_the_record_on(bench):
    record = line(event={"body": "secret"}).removeprefix(PREFIX).rstrip(b"\n")
    bench.deliver("events.log", b"prefix - " + record + b"\n" + record + b"\r\n" + line(event={"body": "other"}))
    bench.load("events")
    hashes = [row["record_hash"] for row in values(bench)]
    assert hashes[0] == hashes[1] == hashlib.md5(record, usedforsecurity=False).hexdigest()
    assert hashes[2] != hashes[0]


BROKEN = [
    (b'{"id": 1, "value": "cut o\n', "cut off"),
    (b'{"id": 1}{"id": 2}\n', "something follows the record"),
    (b'{"id": 1} x\n', "something follows the record"),
    (b'{"id": NaN}\n', "NaN or Infinity"),
    (b'{"id": 1, "value": [-Infinity]}\n', "NaN or Infinity"),
    (b'{"id": 1, "value": inf}\n', "not JSON: Expecting value"),
    (b'{"id": 1,}\n', "not JSON"),
    (b'{"id": 1, "value": "\xff"}\n', "not valid UTF-8"),
    (b'{"id": 1, "value": "' + b"x" * 200 + b'"}\n', "longer than 200 bytes"),
    (b"[1]\n", "not a JSON object"),
    (b"5\n", "not a JSON object"),
    (b"hello\n", "not JSON"),
    (b"  \n", "cut off"),
    (b'{"id": 1, "value": "a\tb"}\n', "not JSON: Invalid control character"),
    (b'{"id": 1, "value": "a\rb"}\n', "not JSON: Invalid control character"),
    (b'{"id": 1, "value": "a\x01b"}\n', "not JSON: Invalid control character"),
    (b'{"id": 1, "value": "\\ud800"}\n', "half of a character"),
    (b'{"id": "x"}\n', "column id: 'x' is not of type bigint"),
    (b'{"value": "x"}\n', "column id: a value is required"),
]


def test_every_broken_line_is_refused_with_its_number_its_bytes_and_why(plain):
    good = b'{"id": 7, "value": "Note: NaN, inf, [nan] ,}"}\n'
    lines = [piece for broken, _ in BROKEN for piece in (good, broken)]
    plain.deliver("things.jsonl", b"".join(lines) + b'{"id": 8}')
    load = plain.load("things")
    assert (load.accepted, load.refused) == (len(BROKEN) + 1, len(BROKEN))
    refused = plain.quarantine("things")
    assert [(number, data) for number, _, data in refused] == [
        (2 * place + 2, broken) for place, (broken, _) in enumerate(BROKEN)
    ]
    for (_, reason, _), (broken, expected) in zip(refused, BROKEN, strict=True):
        assert expected in reason, broken
    rows = plain.rows("things")
    assert [row[3] for row in rows] == [*range(1, 2 * len(BROKEN), 2), 2 * len(BROKEN) + 1]
    assert rows[0][:2] == (7, "Note: NaN, inf, [nan] ,}")


@pytest.mark.parametrize(
    "data",
    [
        b'{"id": 1, "value": "\xc3\xa9"}\r\n\r\n{"id": 2}\r\n',
        b'\xef\xbb\xbf{"id": 1, "value": "\xc3\xa9"}\n\n\n{"id": 2}',
        b' {"id": 1,\r"value": "\\u00e9"} \n{"id": 2, "value": null}\n\n',
    ],
)
def test_line_ends_blank_lines_and_byte_order_marks_are_no_records(plain, data):
    plain.deliver("things.jsonl", data)
    load = plain.load("things")
    assert (load.records, load.accepted) == (2, 2)
    assert [row[:2] for row in plain.rows("things")] == [(1, "é"), (2, None)]


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzipped), (".zst", lambda data: pa.compress(data, codec="zstd", asbytes=True))]
)
def test_packed_lines_are_read(plain, ending, pack):
    plain.deliver(f"things.json{ending}", pack(b"".join(b'{"id": %d}\n' % number for number in range(9000))))
    assert plain.load("things").accepted == 9000


def test_scalars_come_as_text_and_objects_as_json(plain):
    plain.deliver(
        "things.jsonl",
        b'{"id": 1.0, "value": true}\n{"id": "2", "value": 12345678901234567890123}\n{"id": 3, "value": {"a": [1]}}\n'
        b'{"id": 4, "value": "a\\u0000b"}\n{"id": 5, "value": ""}\n',
    )
    plain.load("things")
    assert [row[:2] for row in plain.rows("things")] == [
        (1, "true"),
        (2, "12345678901234567890123"),
        (3, '{"a":[1]}'),
        (4, "a\0b"),
        (5, None),
    ]


def test_records_are_unwrapped_where_an_object_lies_at_a_path(tmp_path):
    bench = Bench(tmp_path, WRAPPED)
    inner = json.dumps({"id": 2})
    rows = [{"id": 1}, {"event": inner}, {"a": {"b": {"id": 3}}}, {"event": json.dumps(inner)}, {"id": 5, "event": "x"}]
    bench.deliver("things.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    bench.load("things")
    assert [row[0] for row in bench.rows("things")] == [1, 2, 3, 2, 5]


@pytest.mark.parametrize(
    "data",
    [
        b'[{"id": 1, "value": "a"},\n  {"id": "x"}, {"id": 2,\n "value": "]},"} , 5, {"id": 3, "value": "\xff"}]',
        b'{"next": {"statements": [1]}, "statements": [{"id": 1, "value": "a"},{"id": "x"},'
        b'{"id": 2, "value": "]},"},5,{"id": 3, "value": "\xff"}], "z": 1}',
        b'\xef\xbb\xbf {"more": {"x": [1], "rows": [{"id": 1, "value": "a"},{"id": "x"},'
        b'{"id": 2, "value": "]},"},5,{"id": 3, "value": "\xff"}\n]}}\n',
    ],
)
def test_elements_of_an_array_are_records(tmp_path, data):
    bench = Bench(tmp_path, ARRAY)
    bench.deliver("things.json", data)
    load = bench.load("things")
    assert (load.accepted, load.refused) == (2, 3)
    assert [row[:2] for row in bench.rows("things")] == [(1, "a"), (2, "]},")]
    assert bench.quarantine("things") == [
        (2, "column id: 'x' is not of type bigint", b'{"id": "x"}'),
        (4, "not a JSON object", b"5"),
        (5, "not valid UTF-8", b'{"id": 3, "value": "\xff"}'),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"id": 1}, {"id": 2}', "after record 2 (byte 22) stands neither , nor ]"),
        (b'[{"id": 1}, {"id": 2, "value": "x', "record 2 (byte 13 of the file) cannot be read as JSON"),
        (b'[{"id": 1}, {"id": }, {"id": 3, "value": "and so on, and on"}]', "Expecting value (byte 20)"),
        (b'{"rows": [{"id": 1}]}', "the file is no array of records and has none at a path of `unwrap`"),
        (b'"x"', "the file is no array of records"),
    ],
)
def test_a_broken_array_is_refused_whole_with_the_place(tmp_path, data, message):
    bench = Bench(tmp_path, ARRAY)
    bench.deliver("things.json", data)
    (file,) = bench.load("things").refused_files
    assert message in file.reason


def test_a_long_array_is_read_piece_by_piece(tmp_path):
    bench = Bench(tmp_path, ARRAY)
    records = [{"id": number, "value": "ä" * (number % 60)} for number in range(30_000)]
    bench.deliver("things.json", json.dumps(records, ensure_ascii=False, indent=1).encode())
    assert bench.load("things").accepted == 30_000
    assert [row[:2] for row in bench.rows("things")] == [(record["id"], record["value"] or None) for record in records]


def test_an_empty_file_is_refused_and_an_empty_array_has_no_records(tmp_path):
    bench = Bench(tmp_path, ARRAY)
    bench.deliver("things.json", b"[ ]\n")
    assert [(file.status, file.records) for file in bench.load("things").files] == [("loaded", 0)]
    bench.deliver("things.json", b"\n")
    assert bench.load("things").refused_files[0].reason == "the file is empty"


@pytest.mark.parametrize(("contract", "name"), [(PLAIN, "things.jsonl"), (ARRAY, "things.json")])
def test_a_blank_file_of_an_optional_table_has_no_records(tmp_path, contract, name):
    bench = Bench(tmp_path, contract.replace("delivery: append,", "delivery: append, optional: true,"))
    bench.deliver(name, b"\n \n")
    assert [(file.status, file.records) for file in bench.load("things").files] == [("loaded", 0)]


def test_a_file_refused_whole_is_kept_where_only_its_owner_reads_when_parts_are_dropped(tmp_path):
    bench = Bench(tmp_path, ARRAY.replace("max_record_bytes: 200", "drop_paths: [text]"))
    bench.deliver("things.json", b'[{"id": 1, "text": "secret"}')
    (kept,) = (bench.load("things"), bench.kept("things"))[1]
    assert bench.settings.identity_dir in kept.parents
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"event.times[1]"', '"event.times[x]"', "column seconds: path: found 'event.times[x]', expected a path such"),
        ("path: [time]", 'path: ["a..b"]', "column occurred_at: path: found 'a..b', expected a path such as"),
        ('path: "$"', "path: []", "column body: path: found [], expected at least one path"),
        (
            "[event.body,",
            '["event[0].body",',
            "drop_paths: found ['event[0].body', 'context.email'], expected paths of",
        ),
        ("max_record_bytes: 5000", "max_record_bytes: 0", "max_record_bytes: found 0, expected a whole number from 1"),
        ('path: "#hash"', "path: hash", "key: found 'hash_of_record', expected a column record_hash with path"),
        ("path: [event.id]", "path: [event.body]", "column target: path: found 'event.body', expected"),
        ("path: [event.id]", "path: [event.body.x]", "column target: path: found 'event.body.x', expected"),
        (
            "key: hash",
            "equivalent_to: {table: x, key: [verb]}\n            key: hash",
            "equivalent_to: table: found 'x'",
        ),
    ],
)
def test_a_key_that_cannot_be_tells_what_was_expected(tmp_path, old, new, message):
    assert old in LOG
    with pytest.raises(ContractError) as error:
        contract_from(LOG.replace(old, new), tmp_path)
    assert message in str(error.value)
