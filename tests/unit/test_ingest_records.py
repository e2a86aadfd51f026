"""The splitter: every byte belongs to exactly one record, whatever the dialect and the size of the chunks."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.contracts.source import Dialect
from dagster_project.ingest import records
from dagster_project.ingest.records import BrokenFile, Scan, Splitter, read_header

RFC = Dialect()
BACKSLASH = Dialect(escape="\\")
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(alphabet='ab1 ,"\\\n\ré', max_size=8)


def splitter_of(path: Path, dialect: Dialect = RFC) -> Splitter:
    return Splitter(dialect, read_header(path, dialect))


def all_records(splitter: Splitter, path: Path, found: Scan) -> list[bytes]:
    malformed = set(found.malformed)
    wanted = iter([(number, "") for number in range(1, found.records + 1) if number not in malformed])
    return [data for _, _, data in splitter.fetch(path, wanted)]


@pytest.fixture
def chunks(monkeypatch):
    def set_size(size: int) -> None:
        monkeypatch.setattr(records, "CHUNK", size)
        monkeypatch.setattr(records, "COUNTED_CHUNK", 1 << 16)

    return set_size


@FEW
@given(
    rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=12),
    line_end=st.sampled_from(["\n", "\r\n"]),
    backslash=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    chunk=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_every_row_that_csv_writes_is_one_record_with_its_bytes(
    tmp_path, chunks, rows, line_end, backslash, quoting, chunk
):
    chunks(chunk)
    options = {"doublequote": False, "escapechar": "\\"} if backslash else {}
    if backslash:  # csv then escapes quotes outside of quotes too, and not every backslash: no dialect of ours
        quoting = csv.QUOTE_ALL
        rows = [[text.replace("\\", "") for text in row] for row in rows]
    elif quoting == csv.QUOTE_MINIMAL:  # csv leaves a carriage return unquoted
        rows = [[text.replace("\r", "") for text in row] for row in rows]
    written = []
    for row in [["a", "b", "c"], *rows]:
        out = io.StringIO()
        csv.writer(out, lineterminator=line_end, quoting=quoting, **options).writerow(row)
        written.append(out.getvalue().encode())
    path = tmp_path / "rows.csv"
    path.write_bytes(b"".join(written))
    splitter = splitter_of(path, BACKSLASH if backslash else RFC)
    found = splitter.scan(path)
    assert (found.records, list(found.malformed)) == (len(rows), [])
    assert all_records(splitter, path, found) == written[1:]


@FEW
@given(
    body=st.lists(st.sampled_from([b"1", b"x", b",", b'"', b"\n", b"\r\n", b"\xff", b"\\", b"1,2,3\n"]), max_size=40)
)
def test_chunk_size_changes_nothing_and_no_byte_is_lost(tmp_path, chunks, body):
    path = tmp_path / "any.csv"
    path.write_bytes(b"a,b,c\n" + b"".join(body))
    outcomes = []
    for size in (1, 5, 1 << 20):
        chunks(size)
        splitter = splitter_of(path)
        try:
            found = splitter.scan(path)
            pieces = all_records(splitter, path, found)
            outcomes.append((found.records, list(found.malformed), pieces))
        except BrokenFile as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    if not isinstance(outcomes[0], str):
        kept = b"".join(outcomes[0][2])
        assert kept.replace(b"\r", b"").replace(b"\n", b"") == b"".join(body).replace(b"\r", b"").replace(b"\n", b"")


def test_regular_chunks_are_proved_by_counts_and_irregular_ones_record_by_record(tmp_path, chunks):
    chunks(1 << 16)
    regular = b'"1","2","3"\n' * 20_000
    path = tmp_path / "rows.csv"
    path.write_bytes(b'"a","b","c"\n' + regular + b'"1","x\ny",""\n' + b'"1","2"\n' + regular)
    splitter = splitter_of(path)
    found = splitter.scan(path)
    assert found.records == 40_002
    assert list(found.malformed) == [20_002]
    fetched = list(splitter.fetch(path, iter([(20_001, "wanted"), (40_002, "wanted")])))
    assert fetched == [
        (20_001, "wanted", b'"1","x\ny",""\n'),
        (20_002, "2 fields, expected 3", b'"1","2"\n'),
        (40_002, "wanted", b'"1","2","3"\n'),
    ]


def test_invalid_bytes_in_an_otherwise_regular_chunk_are_found(tmp_path):
    path = tmp_path / "rows.csv"
    lines = b"1,x,3\n" * 20_000
    path.write_bytes(b"a,b,c\n" + lines + b"1,\xff,3\n" + lines)
    assert list(splitter_of(path).scan(path).malformed) == [20_001]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"1,2\n", "2 fields, expected 3"),
        (b"1,2,3,4\n", "4 fields, expected 3"),
        (b"1,2,3,\n", "4 fields, expected 3"),
        (b'1,"2"x,3\n', "text after a closing quote"),
        (b'1,2"x,3\n', "a quote or line break inside a field"),
        (b"1,\xe9,3\n", "not valid UTF-8"),
        (b"1," + b"x" * 2_000_000 + b",3\n", "longer than 2,000,000 bytes"),
    ],
)
def test_malformed_line_costs_itself_only(tmp_path, line, problem):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b,c\n1,2,3\n" + line + b"4,5,6\n")
    splitter = splitter_of(path)
    found = splitter.scan(path)
    assert (found.records, list(found.malformed)) == (3, [2])
    ((number, reason, data),) = splitter.fetch(path, iter([]))
    assert (number, data) == (2, line)
    assert problem in reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'1,"2,3\n4,5,6\n', r"a quote that opens in record 1 \(line 2\) is never closed"),
        (b'1,2,"3\n4,"5",6\n', r"the quoting breaks at record 1 \(line 2\)"),
        (b"1,2,3\n4,5", r"the file ends within record 2 \(line 3\): 2 of 3 fields"),
        (b'1,"' + b"x\n" * 3_000_000, r"record 1 \(line 2\) is longer than"),
        ("é,é,é\n".encode("latin-1") * 10, "10 of 10 records are not UTF-8"),
    ],
)
def test_file_whose_structure_is_lost_is_refused_whole(tmp_path, body, message):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b,c\n" + body)
    with pytest.raises(BrokenFile, match=message):
        splitter_of(path).scan(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n\n", "the file is empty"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "not UTF-8 text"),
        (b"a,caf\xe9\n1,2\n", "the header line is not UTF-8"),
        (b'a,"b\n1,2\n', "the first line does not end"),
    ],
)
def test_header_that_cannot_be_read_is_refused(tmp_path, data, message):
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    with pytest.raises(BrokenFile, match=message):
        read_header(path, RFC)


def test_mask_hides_fields_and_everything_of_a_record_that_cannot_be_split(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b,c\n")
    splitter = splitter_of(path)
    assert splitter.mask(b'1,"ann","x"\r\n', frozenset({1})) == b'1,"***","x"\r\n'
    assert splitter.mask(b"1,ann\n", frozenset({1})) == b"***,***\n"
    assert splitter.mask(b'1,"ann"smith,3\n', frozenset({1})) == b'***,"***,***\n'
