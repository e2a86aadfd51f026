"""Loading: what gets into raw, what a second load does, and what replaces what."""

import shutil
from contextlib import contextmanager
from datetime import date, datetime

import duckdb
import pytest

from dagster_project.ingest.loader import ensure_empty_files
from dagster_project.settings import REPOSITORY
from tests.unit.landing_files import (
    CAMPUS,
    EVENTS_HEADER,
    OULAD,
    Bench,
    event_lines,
    gzipped,
    oulad_files,
    zipped,
)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize("uci", [False, True], ids=["crlf_quoted_empty", "lf_question_mark"])
def test_both_releases_of_oulad_load_alike(tmp_path, uci):
    bench = Bench(tmp_path, OULAD)
    zipped(bench.landing / "oulad.zip", oulad_files(uci=uci))
    loads = {table.name: bench.load(table.name) for table in bench.contract.tables}
    assert {name: (load.accepted, load.refused) for name, load in loads.items()} == {
        "courses": (1, 0),
        "assessments": (2, 0),
        "vle": (1, 0),
        "studentInfo": (1, 0),
        "studentRegistration": (1, 0),
        "studentAssessment": (2, 0),
        "studentVle": (3, 0),
    }
    assert bench.rows("assessments")[1][4] is None
    assert bench.rows("studentAssessment")[1][4] is None
    assert bench.rows("studentRegistration") == [("AAA", "2013J", 11391, -159, None, "studentRegistration.csv", 1)]
    assert loads["studentVle"].changed_dates == (date(2013, 9, 21), date(2013, 11, 1))


def test_exact_duplicates_stay_in_raw(tmp_path):
    bench = Bench(tmp_path, OULAD)
    bench.deliver("studentVle.csv", oulad_files()["studentVle.csv"])
    bench.load("studentVle")
    rows = bench.rows("studentVle")
    assert rows[0][:6] == rows[1][:6]
    assert [row[-1] for row in rows] == [1, 2, 3]


def test_columns_are_taken_by_name_in_any_order(bench):
    bench.deliver("learners.csv", b"country,learner_id\nNO,1\n")
    bench.load("learners")
    assert bench.rows("learners") == [(1, "NO", "learners.csv", 1)]


def test_events_lie_in_the_partition_of_their_date_in_utc(bench):
    bench.deliver("events.csv", EVENTS_HEADER + b"1,,2024-03-01 00:30:00+02:00,,\n2,,2024-03-01T00:30:00Z,,\n")
    bench.load("events")
    assert bench.dates("events") == ["2024-02-29", "2024-03-01"]
    assert [row[2] for row in bench.rows("events")] == [datetime(2024, 2, 29, 22, 30), datetime(2024, 3, 1, 0, 30)]


def test_null_values_of_the_contract_are_missing_values(bench):
    bench.deliver("events.csv", EVENTS_HEADER + b'1,NA,2024-01-01,"",NA\n')
    bench.load("events")
    assert bench.rows("events")[0][:5] == (1, None, datetime(2024, 1, 1), None, None)


def test_same_delivery_again_loads_nothing_however_it_is_packed(bench, tmp_path):
    data = EVENTS_HEADER + event_lines(["2024-01-01", "2024-01-02"])
    path = bench.deliver("events.csv", data)
    first = bench.load("events")
    before = {path: path.stat().st_mtime_ns for path in bench.settings.raw_dir.rglob("*.parquet")}
    places = [bench.landing, zipped(tmp_path / "x.zip", {"events.csv": data}), bench.landing]
    for place in places:
        again = bench.load("events", landing=place)
        assert [file.status for file in again.files] == ["unchanged"]
        assert (again.records, again.accepted, again.changed_dates) == (first.records, first.accepted, ())
    path.unlink()
    bench.deliver("events.csv.gz", gzipped(data))
    assert [file.status for file in bench.load("events").files] == ["unchanged"]
    assert {path: path.stat().st_mtime_ns for path in bench.settings.raw_dir.rglob("*.parquet")} == before


def test_new_content_of_a_name_replaces_that_files_rows_only(bench):
    bench.deliver("events-a.csv", EVENTS_HEADER + event_lines(["2024-01-01", "2024-01-02"]))
    bench.deliver("events-b.csv", EVENTS_HEADER + event_lines(["2024-01-02"], first=10))
    bench.load("events")
    bench.deliver("events-a.csv", EVENTS_HEADER + event_lines(["2024-01-03"], first=20) + b"x,,2024-01-01,,\n")
    load = bench.load("events")
    assert [(file.name, file.status) for file in load.files] == [
        ("events-a.csv", "loaded"),
        ("events-b.csv", "unchanged"),
    ]
    assert [row[0] for row in bench.rows("events")] == [20, 10]
    assert bench.dates("events") == ["2024-01-02", "2024-01-03"]
    assert [str(day) for day in load.changed_dates] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert len(bench.quarantine("events")) == 1
    bench.deliver("events-a.csv", EVENTS_HEADER + event_lines(["2024-01-03"], first=20))
    bench.load("events")
    assert bench.quarantine("events") == []


def test_late_event_marks_its_own_date_until_it_is_cleared(bench):
    bench.deliver("events-1.csv", EVENTS_HEADER + event_lines(["2024-01-01", "2024-01-02"]))
    bench.load("events")
    ledger = bench.ledger
    marked = ledger.marked_dates("tiny", "here")
    assert [str(day) for day in marked.dates] == ["2024-01-01", "2024-01-02"]
    bench.deliver("events-2.csv", EVENTS_HEADER + b"9,late,2024-01-01,2024-01-09,\n")
    bench.load("events")
    ledger.clear(marked)
    assert [str(day) for day in ledger.marked_dates("tiny", "here").dates] == ["2024-01-01"]
    ledger.clear(ledger.marked_dates("tiny", "here"))
    assert ledger.marked_dates("tiny", "here").dates == ()
    assert str(ledger.newest_event_date("tiny", "here")) == "2024-01-02"


def test_newest_snapshot_is_the_whole_table(bench):
    bench.deliver("learners-01.csv", b"learner_id,country\n1,NO\n")
    bench.deliver("learners-02.csv", b"learner_id,country\n2,SE\n")
    assert [file.status for file in bench.load("learners").files] == ["superseded", "loaded"]
    assert [row[0] for row in bench.rows("learners")] == [2]
    assert [file.status for file in bench.load("learners").files] == ["unchanged", "unchanged"]
    bench.deliver("learners-03.csv", b"learner_id,country\n3,DK\n")
    bench.deliver("learners-01.csv", b"learner_id,country\n1,FI\n")
    assert [file.status for file in bench.load("learners").files] == ["superseded", "superseded", "loaded"]
    assert [row[0] for row in bench.rows("learners")] == [3]
    counts = bench.ledger.table_counts("tiny", "learners", "here")
    assert (counts.files, counts.records) == (1, 1)


def test_snapshot_that_comes_back_after_an_earlier_one_took_its_place_is_loaded_again(bench):
    second = b"learner_id,country\n2,SE\n"
    bench.deliver("learners-01.csv", b"learner_id,country\n1,NO\n")
    path = bench.deliver("learners-02.csv", second)
    bench.load("learners")
    path.unlink()
    assert [file.status for file in bench.load("learners").files] == ["unchanged"]
    assert [row[0] for row in bench.rows("learners")] == [2]
    bench.deliver("learners-01.csv", b"learner_id,country\n1,FI\n")
    bench.load("learners")
    assert [row[0] for row in bench.rows("learners")] == [1]
    bench.deliver("learners-02.csv", second)
    bench.load("learners")
    assert [row[0] for row in bench.rows("learners")] == [2]


def test_last_snapshot_that_can_be_read_is_the_table(bench):
    bench.deliver("learners-01.csv", b"learner_id,country\n1,NO\n")
    bench.deliver("learners-02.csv", b"")
    load = bench.load("learners")
    assert [file.status for file in load.files] == ["loaded", "refused"]
    assert [row[0] for row in bench.rows("learners")] == [1]


def test_snapshot_without_rows_empties_the_table(bench):
    bench.deliver("learners.csv", b"learner_id,country\n1,NO\n")
    bench.load("learners")
    bench.deliver("learners.csv", b"learner_id,country\n")
    assert bench.load("learners").files[0].status == "loaded"
    assert bench.rows("learners") == []


def test_record_numbers_are_the_files_order_however_many_threads_read(bench):
    lines = "".join(f"{i},{'x' * (i % 90)},2024-01-{1 + i % 28:02d},,\n" for i in range(1, 250_001))
    bench.deliver("events.csv", EVENTS_HEADER + lines.encode())
    assert bench.load("events").accepted == 250_000
    folder = bench.settings.raw_dir / "tiny/events/source=here"
    query = f"select count(*), count(*) filter (event_id = _record) from read_parquet('{folder}/*/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(250_000, 250_000)]


def test_sources_on_one_contract_leave_each_other_alone(bench, tmp_path):
    bench.deliver("learners.csv", b"learner_id,country\n1,NO\n")
    bench.load("learners", "uni_a")
    bench.deliver("learners.csv", b"learner_id,country\n2,SE\n")
    bench.load("learners", "uni_b")
    assert [row[0] for row in bench.rows("learners", "uni_a")] == [1]
    assert [row[0] for row in bench.rows("learners", "uni_b")] == [2]


def test_changed_contract_loads_the_same_file_again(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("learners.csv", b"learner_id,country\n1,12\n")
    bench.load("learners")
    changed = Bench(tmp_path, CAMPUS.replace("name: country, data_type: varchar", "name: country, data_type: integer"))
    assert [file.status for file in changed.load("learners").files] == ["loaded"]
    assert changed.rows("learners") == [(1, 12, "learners.csv", 1)]


def test_parquet_lands_like_text(bench):
    (bench.landing / "events").mkdir()
    duckdb.sql(
        "copy (select 2.0 as minutes, 1 as event_id, timestamp '2024-01-01 10:00:00' as occurred_at, "
        "null::timestamp as received_at, 'NA' as note, 7 as extra "
        "union all select 1, 2, timestamp '1970-01-01', null, 'x', 8) "
        f"to '{bench.landing}/events/one.parquet' (format parquet)"
    )
    load = bench.load("events")
    assert (load.records, load.accepted, load.refused) == (2, 1, 1)
    assert bench.rows("events") == [(1, None, datetime(2024, 1, 1, 10), None, 2.0, "events/one.parquet", 1)]
    ((record, reason, data),) = bench.quarantine("events")
    assert (record, reason[:21]) == (2, "event date 1970-01-01")
    assert b'"event_id":2' in data
    assert b'"extra":8' in data
    assert load.files[0].warnings == ("columns that the contract does not know are left out: extra",)


def test_parquet_in_the_types_of_the_contract_is_checked_like_text(bench):
    """Columns that come in their type are not cast; infinities and missing values are found all the same."""
    (bench.landing / "events").mkdir()
    duckdb.sql(
        "copy (select 1::bigint as event_id, null::varchar as note, timestamp '2024-01-01 10:00' as occurred_at, "
        "null::timestamp as received_at, 'infinity'::double as minutes "
        "union all select null, 'x', timestamp '2024-01-01 10:00', null, 1.5 "
        "union all select 3, 'x', null, null, 1.5 "
        "union all select 4, 'x', timestamp '2024-01-02 10:00', timestamp '2024-01-03', 1.5) "
        f"to '{bench.landing}/events/one.parquet' (format parquet)"
    )
    bench.load("events")
    kept = (4, "x", datetime(2024, 1, 2, 10), datetime(2024, 1, 3), 1.5, "events/one.parquet", 4)
    assert bench.rows("events") == [kept]
    assert {record: reason for record, reason, _ in bench.quarantine("events")} == {
        1: "column minutes: 'inf' is not of type double",
        2: "column event_id: a value is required",
        3: "column occurred_at: a value is required",
    }


def test_file_without_header_is_read_in_the_contracts_order(tmp_path):
    bench = Bench(tmp_path, CAMPUS.replace("null_values:", "header: false, null_values:"))
    bench.deliver("learners.csv", b"\xef\xbb\xbf1,NO\n2,SE\n")
    bench.load("learners")
    assert [row[:2] for row in bench.rows("learners")] == [(1, "NO"), (2, "SE")]


def test_backslash_dialect_keeps_text_exactly(tmp_path):
    bench = Bench(tmp_path, CAMPUS.replace("quote: '\"',", 'quote: \'"\', escape: "\\\\",'))
    bench.deliver("learners.csv", b'learner_id,country\n1,"say \\"x\\", \\\\\nyes"\n2,SE\n')
    load = bench.load("learners")
    assert (load.records, load.refused) == (2, 0)
    assert bench.rows("learners")[0][:2] == (1, 'say "x", \\\nyes')


@pytest.mark.parametrize(
    "data",
    [
        b"learner_id,country\r\n1,NO\n2,SE\r\n",
        b"learner_id,country\n1,NO\r\n2,SE\n",
        b"learner_id,country\r1,NO\r2,SE\r",
        b"learner_id,country\n\n1,NO\n\n2,SE\n\n",
        b"\xef\xbb\xbflearner_id,country\n1,NO\n2,SE",
        b'"learner_id","country"\r\n"1","NO"\r\n"2","SE"',
    ],
    ids=["crlf_lf", "lf_crlf", "cr", "blank_lines", "mark_and_no_last_line_end", "quoted"],
)
def test_line_ends_of_every_kind_give_the_same_rows(bench, data):
    bench.deliver("learners.csv", data)
    load = bench.load("learners")
    assert (load.records, load.accepted, load.refused) == (2, 2, 0)
    assert [row[:2] for row in bench.rows("learners")] == [(1, "NO"), (2, "SE")]


@pytest.mark.parametrize("value", ["007", " 12", "3.0", "-5", "+5"])
def test_whole_numbers_in_unusual_writing_are_numbers(bench, value):
    bench.deliver("learners.csv", f"learner_id,country\n{value},NO\n".encode())
    bench.load("learners")
    assert bench.rows("learners")[0][0] == float(value)


def test_one_file_per_date_even_where_the_engine_writes_several(bench, monkeypatch):
    days = [f"2024-01-{day:02d}" for day in range(1, 11)] * 600
    bench.deliver("events.csv", EVENTS_HEADER + event_lines(days))
    from dagster_project.ingest import conversion

    original = conversion.open_engine

    @contextmanager
    def engine_that_flushes_early(*args):
        with original(*args) as connection:
            connection.execute("set partitioned_write_flush_threshold = 100; set partitioned_write_max_open_files = 1")
            yield connection

    monkeypatch.setattr(conversion, "open_engine", engine_that_flushes_early)
    merges = []
    copy = conversion.sql.copy_to_parquet
    monkeypatch.setattr(
        conversion.sql, "copy_to_parquet", lambda query, path, **k: merges.append(path.name) or copy(query, path, **k)
    )
    bench.load("events")
    assert "merged.parquet" in merges
    assert len(list((bench.settings.raw_dir / "tiny/events/source=here").rglob("*.parquet"))) == 10
    assert sorted(row[-1] for row in bench.rows("events")) == list(range(1, 6001))


def test_every_table_has_a_typed_file_without_rows(tmp_path):
    bench = Bench(tmp_path, OULAD)
    ensure_empty_files(bench.contract, bench.settings)
    before = {path: path.stat().st_mtime_ns for path in bench.settings.raw_dir.rglob("empty.parquet")}
    assert len(before) == 7
    ensure_empty_files(bench.contract, bench.settings)
    assert {path: path.stat().st_mtime_ns for path in bench.settings.raw_dir.rglob("empty.parquet")} == before
    clicks = bench.settings.raw_dir / "oulad/studentVle"
    query = f"from read_parquet('{clicks}/*/*/*.parquet', hive_partitioning = true)"
    assert duckdb.sql(f"select count(*) {query}").fetchall() == [(0,)]
    empty = {name: kind for name, kind, *_ in duckdb.sql(f"describe {query}").fetchall()}
    bench.deliver("studentVle.csv", oulad_files()["studentVle.csv"])
    bench.load("studentVle")
    loaded = {name: kind for name, kind, *_ in duckdb.sql(f"describe {query}").fetchall()}
    assert duckdb.sql(f"select count(*) {query}").fetchall() == [(3,)]
    for types in (empty, loaded):  # hive columns get their type from what is there; models cast event_date
        assert set(types) == {
            *("code_module", "code_presentation", "id_student", "id_site", "date", "sum_click"),
            *("_file", "_record", "event_date", "source"),
        }
        assert (types["id_student"], types["sum_click"], types["_record"]) == ("BIGINT", "INTEGER", "BIGINT")


def test_landing_that_was_emptied_keeps_what_was_loaded(bench):
    bench.deliver("learners.csv", b"learner_id,country\n1,NO\n")
    bench.load("learners")
    shutil.rmtree(bench.landing)
    bench.landing.mkdir()
    assert bench.load("learners").files == ()
    assert len(bench.rows("learners")) == 1


COURSES = """course_id,course_name,course_type,program_id,level,is_required_for_progress,language
algebra,Algebra,degree,bsc,,,
logic,Logic,degree,,,,
intro,Introduction,open,,,,
"""


@pytest.mark.parametrize("is_parquet", [False, True], ids=["csv", "parquet"])
def test_a_degree_course_without_its_program_is_refused_by_name_and_an_open_course_has_none(tmp_path, is_parquet):
    bench = Bench(tmp_path, REPOSITORY / "dbt/models/staging/campus/_campus__sources.yml")
    file = bench.deliver("courses.csv", COURSES.encode())
    if is_parquet:
        columns = bench.contract.table("courses").columns
        typed = {column.name: column.data_type for column in columns if not column.optional}
        casts = ", ".join(f'"{name}"::{kind} as "{name}"' for name, kind in typed.items())
        typed_file = file.with_suffix(".parquet")
        duckdb.sql(f"copy (select {casts} from read_csv('{file}')) to '{typed_file}' (format parquet)")
        file.unlink()
    load = bench.load("courses")
    assert [(row[0], row[3]) for row in bench.rows("courses")] == [("algebra", "bsc"), ("intro", None)]
    assert (load.accepted, load.refused) == (2, 1)
    ((record, reason, _),) = bench.quarantine("courses")
    assert (record, reason) == (2, "column program_id: a value is required where course_type is degree")
