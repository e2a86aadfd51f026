r"""Text files as platforms write them: a dialect of a table, MySQL's extracts, encodings, packings, unix times."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.contracts.reading import ContractError
from dagster_project.ingest.changes import contract_hash
from tests.unit.landing_files import CAMPUS, Bench, contract_from, gzipped

PLATFORM = r"""
sources:
  - name: raw_platform
    config:
      meta:
        contract: platform
        csv: {null_values: ["", "NULL"]}
    tables:
      - name: accounts
        config:
          meta:
            delivery: snapshot
            csv: {delimiter: "\t", quote: "", escape: "\\", null_values: ["\\N"]}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
          - {name: about, data_type: varchar}
          - {name: joined_at, data_type: timestamp, config: {meta: {unix_time: seconds, null_values: ["0"]}}}
      - name: clicks
        config:
          meta:
            delivery: append
            columns_by_position: true
            csv: {header: false, escape: "\\"}
        columns:
          - {name: page, data_type: varchar}
          - {name: value, data_type: varchar, config: {meta: {null_values: ["-"]}}}
          - {name: clicked_at, data_type: timestamp, config: {meta: {unix_time: milliseconds}}}
          - {name: comment, data_type: varchar, config: {meta: {optional: true}}}
      - name: visits
        config: {meta: {delivery: append, csv: {header: false, escape: "\\"}}}
        columns:
          - {name: person, data_type: varchar, config: {meta: {pii: pseudonym}}}
          - {name: ip, data_type: varchar, config: {meta: {pii: dropped}}}
          - {name: page, data_type: varchar, config: {meta: {part: "/learn/([^/?]+)"}}}
          - {name: value, data_type: varchar, config: {meta: {json: true}}}
      - name: names
        config: {meta: {delivery: append, encoding: cp1252}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
          - {name: name, data_type: varchar}
"""


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, PLATFORM)


def zstandard(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def test_an_extract_of_mysql_is_read_with_its_escapes(bench):
    bench.deliver(
        "accounts.csv",
        b"id\tabout\tjoined_at\n"
        b'1\ttwo\\tcolumns, a "quote\t1700000000\n'
        b"2\tline\\nbreak\\rand \\\\n\t0\n"
        b"3\t\\N\t\\N\n"
        b"4\t\t2023-11-14 22:13:20\n"
        b"5\t\\\\\\\\N\\x\t1700000000.25\n",
    )
    load = bench.load("accounts")
    assert (load.accepted, load.refused) == (5, 0)
    assert [row[:3] for row in bench.rows("accounts")] == [
        (1, 'two\tcolumns, a "quote', datetime(2023, 11, 14, 22, 13, 20)),
        (2, "line\nbreak\rand \\n", None),
        (3, None, None),
        (4, "", datetime(2023, 11, 14, 22, 13, 20)),
        (5, "\\\\N\\x", datetime(2023, 11, 14, 22, 13, 20, 250_000)),
    ]


def test_a_text_that_is_no_time_is_refused_beside_unix_times(bench):
    bench.deliver("accounts.csv", b"id\tabout\tjoined_at\n1\ta\tyesterday\n2\tb\t99999999999999999999\n3\tc\t-1\n")
    load = bench.load("accounts")
    assert (load.accepted, load.refused) == (1, 2)
    assert bench.rows("accounts")[0][2] == datetime(1969, 12, 31, 23, 59, 59)
    assert [(record, data) for record, _, data in bench.quarantine("accounts")] == [
        (1, b"1\ta\tyesterday\n"),
        (2, b"2\tb\t99999999999999999999\n"),
    ]


def test_fields_without_header_go_by_position_with_escaped_quotes_and_missing_values_of_a_column(bench):
    bench.deliver("clicks.csv", b'"/a","{\\"x\\": \\"1,2\\"}",1700000000123\n-,-,NULL\n')
    bench.load("clicks")
    assert [row[:4] for row in bench.rows("clicks")] == [
        ("/a", '{"x": "1,2"}', datetime(2023, 11, 14, 22, 13, 20, 123_000), None),
        ("-", None, None, None),
    ]


def test_a_header_is_passed_over_where_columns_go_by_position(tmp_path):
    bench = Bench(tmp_path, PLATFORM.replace('csv: {header: false, escape: "\\\\"}', "csv: {header: true}"))
    bench.deliver("clicks.csv", b"a,a,b,\n/home,1,1700000000000,x\n")
    bench.load("clicks")
    assert [row[0] for row in bench.rows("clicks")] == ["/home"]


def test_by_position_every_column_must_be_there_but_optional_ones_at_the_end(bench):
    bench.deliver("clicks.csv", b"/a,1\n")
    (file,) = bench.load("clicks").refused_files
    assert "2 fields in the first record; table clicks of contract platform has 4 columns" in file.reason
    assert "page, value, clicked_at, comment" in file.reason


def test_another_encoding_is_read_and_undecodable_records_keep_their_bytes(bench):
    bench.deliver("names.csv", b"id,name\r\n1,Zo\xeb \x80\r\n2,bad \x81\r\nx,\xe9\r\n")
    load = bench.load("names")
    assert (load.accepted, load.refused) == (1, 2)
    assert bench.rows("names")[0][1] == "Zoë €"
    assert bench.quarantine("names") == [
        (2, "not valid CP1252", b"2,bad \x81\r\n"),
        (3, "column id: 'x' is not of type bigint", b"x,\xe9\r\n"),
    ]


def test_of_a_column_may_be_kept_nothing_or_a_part_and_json_must_be_json(bench):
    bench.deliver(
        "visits.csv",
        b'"ann","10.0.0.1","https://x.org/learn/stats/home?token=1","{\\"t\\": 1}"\n'
        b"bob,10.0.0.2,https://x.org/account,\n"
        b'cyd,10.0.0.3,https://x.org/learn/stats?token=2,"{\\"t\\": "\n'
        b"dan,10.0.0.4,https://x.org/learn/stats\n",
    )
    load = bench.load("visits")
    assert (load.accepted, load.refused) == (2, 2)
    assert [row[1:3] for row in bench.rows("visits")] == [("stats", '{"t": 1}'), (None, None)]
    reasons = [(record, reason) for record, reason, _ in bench.quarantine("visits")]
    assert reasons == [(3, "column value: '{\"t\": ' is not of type json"), (4, "3 fields, expected 4")]
    shown = b"".join(data for _, _, data in bench.quarantine("visits"))
    assert not any(hidden in shown for hidden in (b"cyd", b"10.0.0", b"token"))
    assert b'{\\"t\\": ' in shown
    written = b"".join(path.read_bytes() for path in bench.settings.home.rglob("*") if path.is_file())
    assert not any(hidden in written for hidden in (b"10.0.0", b"token"))


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzipped), (".zst", zstandard)])
def test_packed_files_are_read_and_damaged_ones_refused_whole(bench, ending, pack):
    data = pack(b"id,name\n" + b"".join(b"%d,n\n" % number for number in range(5000)))
    bench.deliver(f"names.csv{ending}", data)
    load = bench.load("names")
    assert [(file.name, file.accepted) for file in load.files] == [("names.csv", 5000)]
    bench.deliver(f"names.csv{ending}", data[: len(data) // 2])
    (file,) = bench.load("names").refused_files
    assert "it cannot be decompressed" in file.reason
    assert len(bench.rows("names")) == 5000


def test_zstandard_under_another_name_says_so(bench):
    bench.deliver("names.csv", zstandard(b"id,name\n" * 1000))
    (file,) = bench.load("names").refused_files
    assert ".zst" in file.reason or "not UTF-8" in file.reason


def test_parquet_has_missing_values_of_a_column_and_unix_times_too(bench):
    table = pa.table({"id": [1, 2], "about": ["a", "\\N"], "joined_at": [0, 1_700_000_000]})
    pq.write_table(table, bench.landing / "accounts.parquet")
    bench.load("accounts")
    assert [row[:3] for row in bench.rows("accounts")] == [
        (1, "a", None),
        (2, None, datetime(2023, 11, 14, 22, 13, 20)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("encoding: cp1252", "encoding: utf-16", "table names: encoding: found 'utf-16', expected a name of an enc"),
        ("encoding: cp1252", "encoding: klingon", "table names: encoding: found 'klingon'"),
        ("encoding: cp1252", "format: xml", "table names: format: found 'xml', expected one of csv, jsonl, json_array"),
        ("encoding: cp1252", "drop_paths: [a]", "drop_paths: found ['a'], expected format: jsonl or json_array"),
        ("encoding: cp1252", 'csv: {quot: ""}', "table names: csv: quot: found '', expected no such key"),
        ("unix_time: seconds", "unix_time: days", "unix_time: found 'days', expected one of seconds, milliseconds"),
        ('{null_values: ["-"]}', "{path: [a]}", "column value: path: found ['a'], expected format: jsonl"),
    ],
)
def test_a_key_that_cannot_be_tells_what_was_expected(tmp_path, old, new, message):
    assert old in PLATFORM
    with pytest.raises(ContractError) as error:
        contract_from(PLATFORM.replace(old, new), tmp_path)
    assert message in str(error.value)


def test_every_key_of_a_form_is_part_of_what_a_loaded_file_is_recognised_by(tmp_path):
    changes = [
        ("accounts", r'null_values: ["\\N"]', r'null_values: ["\\N", "NULL"]'),
        ("accounts", "unix_time: seconds", "unix_time: milliseconds"),
        ("clicks", "columns_by_position: true", "columns_by_position: false"),
        ("clicks", '["-"]', '["--"]'),
        ("names", "encoding: cp1252", "encoding: latin-1"),
        ("visits", "{pii: dropped}", "{pii: pseudonym}"),
        ("visits", '{part: "/learn/([^/?]+)"}', '{part: "/learn/([^/?#]+)"}'),
        ("visits", "{json: true}", "{json: false}"),
    ]
    before = contract_from(PLATFORM, tmp_path)
    for table, old, new in changes:
        assert old in PLATFORM
        after = contract_from(PLATFORM.replace(old, new), tmp_path)
        hashes = [contract_hash(contract, contract.table(table), None) for contract in (before, after)]
        assert hashes[0] != hashes[1], old


def test_contracts_without_these_keys_are_recognised_as_before(tmp_path):
    contract = contract_from(CAMPUS, tmp_path)
    assert contract_hash(contract, contract.table("learners"), None) == (
        "fc18332c0231bd67361df66835dcd2670e60fc174b8b01cf96a195174365599c"
    )
