"""Bad input gets a clear error or a reason in quarantine, and nothing is lost: accepted + refused = records."""

import os
import zipfile

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.contracts.reading import ContractError
from dagster_project.ingest import landing
from dagster_project.ingest.landing import LandingError
from dagster_project.ingest.loader import RefusedFilesError
from tests.unit.landing_files import CAMPUS, EVENTS_HEADER, OULAD, Bench, event_lines, gzipped, oulad_files, zipped

GOOD = EVENTS_HEADER + event_lines(["2024-01-01", "2024-01-02"])


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def refused_whole(bench, table, message):
    """The one file of the table was refused with this message and kept; rows of before stay."""
    load = bench.load(table)
    (file,) = load.refused_files
    assert message in file.reason
    assert (file.records, file.accepted, file.refused) == (0, 0, 0)
    with pytest.raises(RefusedFilesError, match="1 landing file") as error:
        load.raise_for_refused_files()
    assert file.name in str(error.value)
    assert message in str(error.value)
    (record,) = [record for record in bench.ledger.files("tiny", table) if record.status == "refused"]
    assert record.reason == file.reason
    again = bench.load(table)
    assert again.refused_files[0].reason == file.reason
    return load


# --- missing things


def test_missing_table_names_table_folder_patterns_and_what_lies_there(bench):
    bench.deliver("learner.csv", b"learner_id,country\n")
    with pytest.raises(LandingError) as error:
        bench.load("learners")
    for part in ("table learners", "contract tiny", str(bench.landing), "learners.csv", "found learner.csv"):
        assert part in str(error.value)


def test_missing_optional_table_is_no_error(tmp_path):
    bench = Bench(tmp_path, CAMPUS.replace("delivery: snapshot,", "delivery: snapshot, optional: true,"))
    assert bench.load("learners").files == ()


def test_missing_column_names_file_table_column_and_the_nearest_name(bench):
    bench.deliver("events.csv", GOOD)
    bench.load("events")
    bench.deliver("events.csv", GOOD.replace(b"occurred_at", b"occured_at").replace(b"note", b"remark"))
    load = refused_whole(bench, "events", "column occurred_at is missing (renamed to occured_at?)")
    reason = load.files[0].reason
    assert "column note is missing;" in reason
    assert "Table events of contract tiny needs event_id, note, occurred_at" in reason
    assert "found event_id, remark, occured_at" in reason
    assert [row[0] for row in bench.rows("events")] == [1, 2]
    assert bench.kept("events")[0].read_bytes() == (bench.landing / "events.csv").read_bytes()


@pytest.mark.parametrize("header", [b"\x01\x0b\x01", b'"occurred_at\nevent_id",note', b'"event_\x1b[2Jid"'])
def test_names_that_break_lines_do_not_break_the_message(bench, header):
    bench.deliver("events.csv", header + b"\n1\n")
    load = refused_whole(bench, "events", "column occurred_at is missing")
    assert load.files[0].reason.isprintable()


def test_swapped_columns_are_read_by_name_not_by_position(bench):
    bench.deliver("events.csv", b"minutes,event_id,note,received_at,occurred_at\n1.5,7,x,,2024-01-01\n")
    bench.load("events")
    assert bench.rows("events")[0][0] == 7


def test_column_that_is_there_twice_refuses_the_file(bench):
    bench.deliver("learners.csv", b"learner_id,country,country\n1,NO,SE\n")
    refused_whole(bench, "learners", "column country is there 2 times")


def test_extra_column_is_left_out_with_a_warning(bench):
    bench.deliver("learners.csv", b"learner_id,city,country\n1,Oslo,NO\n")
    load = bench.load("learners")
    assert load.files[0].warnings == ("columns that the contract does not know are left out: city",)
    assert bench.rows("learners") == [(1, "NO", "learners.csv", 1)]


def test_parquet_without_a_column_is_refused_like_text(bench):
    duckdb.sql(f"copy (select 1 as learner_id, 'NO' as land) to '{bench.landing}/learners.parquet'")
    refused_whole(bench, "learners", "column country is missing. Table learners of contract tiny needs")


def test_an_optional_column_may_be_missing_but_not_be_named_otherwise(tmp_path):
    bench = Bench(
        tmp_path,
        CAMPUS.replace(
            "{name: country, data_type: varchar}",
            "{name: country, data_type: varchar, config: {meta: {optional: true}}}",
        ),
    )
    bench.deliver("learners.csv", b"learner_id\n1\n")
    bench.load("learners")
    assert bench.rows("learners") == [(1, None, "learners.csv", 1)]
    (bench.landing / "learners.csv").unlink()
    duckdb.sql(f"copy (select 2 as learner_id) to '{bench.landing}/learners.parquet'")
    bench.load("learners")
    assert bench.rows("learners") == [(2, None, "learners.parquet", 1)]
    (bench.landing / "learners.parquet").unlink()
    bench.deliver("learners.csv", b"learner_id,countries\n1,NO\n")
    refused_whole(
        bench, "learners", "column country is missing (renamed to countries?). Table learners of contract tiny"
    )


# --- rows


def test_wrong_types_in_some_rows_go_to_quarantine_with_their_exact_bytes(bench):
    bad = [
        (b'3,"a,b",2024-01-03 10:00:00,,many\r\n', "column minutes: 'many' is not of type double"),
        (b"4.5,x,2024-01-04,,1\r\n", "column event_id: '4.5' is not of type bigint"),
        (b"0x1F,x,2024-01-04,,1\r\n", "column event_id: '0x1F' is not of type bigint"),
        (b"5,x,2024-02-30,,nan\r\n", "column occurred_at: '2024-02-30' is not of type timestamp; "
         "column minutes: 'nan' is not of type double"),
        (b"6,x,,,1\r\n", "column occurred_at: a value is required"),
    ]  # fmt: skip
    good = b"1,x,2024-01-01,,1\r\n"
    bench.deliver("events.csv", EVENTS_HEADER.replace(b"\n", b"\r\n") + good + b"".join(line for line, _ in bad) + good)
    load = bench.load("events")
    assert (load.records, load.accepted, load.refused) == (7, 2, 5)
    assert bench.quarantine("events") == [(2 + i, reason, line) for i, (line, reason) in enumerate(bad)]
    assert [row[-1] for row in bench.rows("events")] == [1, 7]
    counts = bench.ledger.table_counts("tiny", "events", "here")
    assert (counts.records, counts.accepted, counts.refused) == (7, 2, 5)


def test_invalid_utf8_in_a_row_costs_that_row(bench):
    bench.deliver("learners.csv", b"learner_id,country\n1,NO\n2,\xc3\x28\n3,SE\n")
    load = bench.load("learners")
    assert (load.records, load.accepted, load.refused) == (3, 2, 1)
    assert bench.quarantine("learners") == [(2, "not valid UTF-8", b"2,\xc3\x28\n")]


def test_wrong_number_of_fields_costs_that_row(bench):
    bench.deliver("learners.csv", b"learner_id,country\n1\n2,SE\n3,DK,x\n4,FI,\n")
    load = bench.load("learners")
    assert (load.records, load.accepted, load.refused) == (4, 1, 3)
    assert [(record, reason) for record, reason, _ in bench.quarantine("learners")] == [
        (1, "1 fields, expected 2"),
        (3, "3 fields, expected 2"),
        (4, "3 fields, expected 2"),
    ]
    assert bench.rows("learners") == [(2, "SE", "learners.csv", 2)]


@pytest.mark.parametrize("day", ["1970-01-01", "2099-12-31", "294247-01-01"])
def test_events_outside_of_the_permitted_range_go_to_quarantine(bench, day):
    bench.deliver("events.csv", GOOD + f"3,x,{day},,1\n".encode())
    load = bench.load("events")
    assert (load.records, load.accepted, load.refused) == (3, 2, 1)
    ((record, reason, _),) = bench.quarantine("events")
    assert record == 3
    assert f"event date {day[:10]}" in reason
    assert "is outside of the permitted range, 2024-01-01 to 2024-12-31" in reason
    assert bench.dates("events") == ["2024-01-01", "2024-01-02"]


def test_event_date_that_cannot_be_computed_costs_the_row_not_the_file(tmp_path):
    bench = Bench(tmp_path, OULAD)
    data = oulad_files()["studentVle.csv"]
    bench.deliver("studentVle.csv", data + b'"AAA","twenty","1","1","1","1"\r\n"AAA","2013X","1","1","1","1"\r\n')
    load = bench.load("studentVle")
    assert (load.records, load.accepted, load.refused) == (5, 3, 2)
    assert {reason for _, reason, _ in bench.quarantine("studentVle")} == {"the event date cannot be told from the row"}


def test_event_date_that_does_not_fit_the_contract_is_a_contract_error(tmp_path):
    bench = Bench(tmp_path, CAMPUS.replace("event_time: occurred_at", "event_date: occurred_on + 1"))
    bench.deliver("events.csv", GOOD)
    with pytest.raises(ContractError, match="table events: event_date: the engine cannot compute it"):
        bench.load("events")


# --- files


@pytest.mark.parametrize(
    "body",
    [
        b'1,"NO\n2,SE\n3,DK\n',  # never closed
        b'1,"NO\n2,"SE"\n3,DK\n',  # closed by the next one
        b'1,NO\n2,"SE\n3,DK"x\n4,FI\n',  # closed in the middle
        b'1,"NO\n2,SE"\n3,DK\n',  # closed as if it were text: two rows in one
        b'1,"NO\n' + b"2,SE\n" * 300_000 + b'3,"DK"\n',
    ],
    ids=["open", "next_quote", "middle", "looks_sound", "three_hundred_thousand_lines"],
)
def test_unbalanced_quote_refuses_the_file_instead_of_swallowing_rows(bench, body):
    path = bench.deliver("learners.csv", b"learner_id,country\n" + body)
    load = bench.load("learners")
    assert "quot" in load.refused_files[0].reason
    assert "record" in load.refused_files[0].reason
    assert bench.rows("learners") == []
    assert [kept.read_bytes() for kept in bench.kept("learners")] == [path.read_bytes()]


def test_quote_that_is_missing_within_a_line_costs_that_line(tmp_path):
    bench = Bench(tmp_path, OULAD)
    data = oulad_files()["studentVle.csv"]
    broken = b'"AAA,"2013J","1","1","1","1"\r\n', b'AAA","2013J","1","1","1","1"\r\n'
    bench.deliver("studentVle.csv", data + b"".join(broken) + b'"AAA","2013J","1","1","1","1"\r\n')
    load = bench.load("studentVle")
    assert (load.records, load.accepted, load.refused) == (6, 4, 2)
    assert [data for _, _, data in bench.quarantine("studentVle")] == list(broken)


def test_text_with_line_breaks_is_not_taken_for_a_broken_quote(bench):
    bench.deliver("events.csv", EVENTS_HEADER + b'1,"a, b\nc, d\n",2024-01-01,,1\n2,"2,x,2024-01-01",2024-01-02,,\n')
    load = bench.load("events")
    assert (load.records, load.accepted, load.refused) == (2, 2, 0)
    assert bench.rows("events")[0][1] == "a, b\nc, d\n"


def test_truncated_text_is_refused_and_loads_when_it_comes_whole(bench):
    bench.deliver("events.csv", GOOD[:-20])
    refused_whole(bench, "events", "the file ends within record 2 (line 3): 3 of 5 fields and no line end")
    bench.deliver("events.csv", GOOD)
    assert bench.load("events").accepted == 2
    assert bench.kept("events") == []
    assert [record.status for record in bench.ledger.files("tiny")] == ["loaded"]


def test_refused_content_leaves_the_earlier_rows_until_good_content_comes(bench):
    bench.deliver("events.csv", GOOD)
    bench.load("events")
    bench.deliver("events.csv", b"")
    refused_whole(bench, "events", "the file is empty")
    assert len(bench.rows("events")) == 2
    assert bench.ledger.table_counts("tiny", "events", "here").accepted == 2
    bench.deliver("events.csv", GOOD)
    assert [file.status for file in bench.load("events").files] == ["unchanged"]
    assert [record.status for record in bench.ledger.files("tiny")] == ["loaded"]
    assert bench.kept("events") == []


def test_truncated_gzip_is_refused_and_kept_as_it_came(bench):
    data = gzipped(GOOD * 200)
    bench.deliver("events.csv.gz", data[: len(data) // 2])
    refused_whole(bench, "events", "it cannot be decompressed (Compressed file ended before")
    assert bench.kept("events")[0].read_bytes() == data[: len(data) // 2]


def test_gzip_with_a_flipped_byte_is_refused(bench):
    data = bytearray(gzipped(event_lines(["2024-01-01"] * 500)))
    data[len(data) // 2] ^= 0xFF
    bench.deliver("events.csv.gz", bytes(data))
    refused_whole(bench, "events", "it cannot be decompressed")


def test_truncated_zip_is_refused_and_kept_as_it_came(bench):
    path = zipped(bench.landing / "all.zip", {"learners.csv": b"learner_id,country\n1,NO\n"})
    path.write_bytes(path.read_bytes()[:-30])
    refused_whole(bench, "learners", "the zip cannot be opened")
    assert [kept.read_bytes() for kept in bench.kept("_unreadable")] == [path.read_bytes()]


def test_zip_with_a_damaged_member_is_refused_for_that_member_only(bench):
    path = zipped(bench.landing / "all.zip", {"learners.csv": b"learner_id,country\n1,NO\n" * 50, "events.csv": GOOD})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    refused_whole(bench, "learners", "it cannot be decompressed")
    assert bench.load("events").accepted == 2
    zipped(path, {"learners.csv": b"learner_id,country\n1,NO\n", "events.csv": GOOD})
    assert bench.load("learners").accepted == 1
    assert bench.kept("_unreadable") == []


def test_truncated_parquet_is_refused_and_kept(bench):
    path = bench.landing / "learners.parquet"
    duckdb.sql(f"copy (select i as learner_id, 'NO' as country from range(1000) t(i)) to '{path}'")
    path.write_bytes(path.read_bytes()[:-100])
    refused_whole(bench, "learners", "it is not a readable Parquet file")
    assert bench.kept("learners")[0].read_bytes() == path.read_bytes()


@pytest.mark.parametrize("place", range(30, 90, 6))
def test_parquet_with_damaged_metadata_is_refused(bench, place):
    path = bench.landing / "learners.parquet"
    duckdb.sql(f"copy (select i as learner_id, 'NO' as country from range(9) t(i)) to '{path}'")
    data = bytearray(path.read_bytes())
    data[-place : -place + 4] = b"\x0f\xff\x0f\xff"
    path.write_bytes(data)
    load = bench.load("learners")
    assert [file.status for file in load.files] in (["refused"], ["loaded"])
    assert load.accepted + load.refused == load.records


def test_parquet_with_a_column_of_the_engine_is_refused(bench):
    duckdb.sql(
        f"copy (select 1 as learner_id, 'NO' as country, 2 as File_row_number) to '{bench.landing}/learners.parquet'"
    )
    refused_whole(bench, "learners", "it has a column file_row_number")


def test_zip_whose_directory_points_nowhere_is_refused(bench):
    path = zipped(bench.landing / "all.zip", {"learners.csv": b"learner_id,country\n1,NO\n"})
    path.write_bytes(path.read_bytes()[3:])
    refused_whole(bench, "learners", "the zip cannot be opened (its directory points before its beginning)")


def test_empty_file_is_refused_and_header_alone_is_an_empty_table(bench):
    bench.deliver("learners.csv", b"")
    refused_whole(bench, "learners", "the file is empty")
    bench.deliver("learners.csv", b"learner_id,country\n")
    load = bench.load("learners")
    assert (load.files[0].status, load.records, load.refused_files) == ("loaded", 0, ())


@pytest.mark.parametrize(
    ("encoding", "message"), [("utf-16", "not UTF-8 text"), ("latin-1", "10 of 12 records are not UTF-8")]
)
def test_file_in_another_encoding_is_refused_whole(bench, encoding, message):
    text = "learner_id,country\n1,NO\n2,SE\n" + "3,Österreich\n" * 10
    bench.deliver("learners.csv", text.encode(encoding))
    refused_whole(bench, "learners", message)


def test_one_refused_file_does_not_keep_the_others_out(bench):
    bench.deliver("events-1.csv", b"")
    bench.deliver("events-2.csv", GOOD)
    load = bench.load("events")
    assert [file.status for file in load.files] == ["refused", "loaded"]
    assert len(bench.rows("events")) == 2


def test_file_that_changes_while_it_is_read_is_an_error_and_loads_nothing(bench, monkeypatch):
    from dagster_project.ingest import conversion

    path = bench.deliver("events.csv", GOOD)
    scan = conversion.Splitter.scan

    def scan_and_append(splitter, file):
        with path.open("ab") as out:
            out.write(event_lines(["2024-01-09"]))
        return scan(splitter, file)

    monkeypatch.setattr(conversion.Splitter, "scan", scan_and_append)
    with pytest.raises(LandingError, match="changed while it was being read"):
        bench.load("events")
    assert bench.rows("events") == []


# --- what a file says must not become what the loader does


@pytest.mark.parametrize(
    "name",
    [
        "events-'; drop table x; --.csv",
        "events-[ab].csv",
        "events-*.csv",
        "events-$(touch x).csv",
        'events-"quoted".csv',
        "events-{i}.csv",
        "events/événements\n.csv",
    ],
)
def test_file_names_are_data_not_patterns_or_statements(bench, name):
    bench.deliver(name, GOOD)
    bench.deliver("events-a.csv", EVENTS_HEADER + event_lines(["2024-05-05"], first=50))
    bench.load("events")
    assert {row[-2] for row in bench.rows("events")} == {name, "events-a.csv"}
    assert [row[0] for row in bench.rows("events") if row[-2] == name] == [1, 2]


def test_file_whose_name_is_not_utf8_is_loaded_under_a_readable_one(bench):
    (bench.landing / os.fsdecode(b"events-\xff.csv")).write_bytes(GOOD)
    bench.load("events")
    assert {row[-2] for row in bench.rows("events")} == {r"events-\xff.csv"}


@pytest.mark.parametrize("name", ["learners.csv", "learners.csv.gz", "all.zip"])
def test_link_out_of_the_landing_place_is_not_followed(bench, name):
    secret = bench.landing.parent / "secret"
    secret.write_bytes(b"root:secret\nadmin:secret\n")
    (bench.landing / name).symlink_to(secret)
    refused_whole(bench, "learners", "a link that leads out of the landing place")
    assert [path for path in bench.settings.home.rglob("*") if path.is_file() and b"secret" in path.read_bytes()] == []


def test_link_within_the_landing_place_is_a_file_like_others(bench):
    bench.deliver("export/2024.txt", b"learner_id,country\n1,NO\n")
    (bench.landing / "learners.csv").symlink_to(bench.landing / "export/2024.txt")
    assert bench.load("learners").accepted == 1


@pytest.mark.parametrize("name", ["/etc/learners.csv", "//learners.csv", "../learners.csv", "a/../../learners.csv"])
def test_member_with_a_path_out_of_its_zip_is_refused_and_writes_nothing_there(bench, name):
    zipped(bench.landing / "all.zip", {name: b"learner_id,country\n1,NO\n"})
    before = set(bench.landing.parent.glob("*"))
    refused_whole(bench, "learners", "its name points outside of the zip")
    assert set(bench.landing.parent.glob("*")) - before == {bench.settings.home}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_is_refused_and_not_one_of_them_dropped(bench):
    with zipfile.ZipFile(bench.landing / "all.zip", "w") as archive:
        archive.writestr("learners.csv", b"learner_id,country\n1,NO\n")
        archive.writestr("learners.csv", b"learner_id,country\n2,SE\n")
    refused_whole(bench, "learners", "the zip holds two files of this name")


def test_zip_within_a_zip_is_told_and_not_opened(bench):
    inner = zipped(bench.landing.parent / "inner.zip", {"learners.csv": b"learner_id,country\n1,NO\n"})
    zipped(bench.landing / "all.zip", {"inner.zip": inner.read_bytes()})
    with pytest.raises(LandingError, match=r"found inner\.zip"):
        bench.load("learners")


def test_zip_of_too_many_files_is_refused(bench, monkeypatch):
    monkeypatch.setattr(landing, "MAXIMUM_MEMBERS", 3)
    zipped(bench.landing / "all.zip", {f"learners-{i}.csv": b"learner_id,country\n" for i in range(4)})
    refused_whole(bench, "learners", "it holds 4 files, more than 3: unpack or split it")


def test_zip_whose_files_are_a_bomb_only_together_is_refused(bench, monkeypatch):
    monkeypatch.setattr(landing, "RATIO_MATTERS_FROM", 1 << 20)
    data = b"learner_id,country\n" + b"1,NO\n" * 100_000
    zipped(bench.landing / "all.zip", {f"learners-{i}.csv": data for i in range(9)})
    (*_, last) = bench.load("learners").refused_files
    assert "unpacked the whole zip is more than 200 times as large as packed" in last.reason
    assert bench.rows("learners") == []


def test_parquet_with_far_more_values_than_bytes_is_refused_unread(bench, monkeypatch):
    monkeypatch.setattr(landing, "RATIO_MATTERS_FROM", 1 << 20)
    duckdb.sql(
        "copy (select 1::bigint as learner_id, 'NO' as country from range(1_000_000)) "
        f"to '{bench.landing}/learners.parquet' (row_group_size 1_000_000)"
    )
    refused_whole(bench, "learners", "more than 200 times as large as packed")


def test_error_about_a_header_of_many_columns_fits_a_screen(bench):
    bench.deliver("learners.csv", b",".join(b"column_%d" % i for i in range(5_000)) + b"\n")
    load = refused_whole(bench, "learners", "column_49 and 4,950 more. Put the header right")
    assert len(load.files[0].reason) < 1_000


def test_contents_and_column_names_are_data_not_statements(bench):
    texts = ["'; drop table x; --", "{i}", "getvariable('x')", "\\N", "=1+1", "a''b", "🙂"]
    lines = "".join(f'{i},"{text}",2024-01-01,,1\n' for i, text in enumerate(texts))
    header = EVENTS_HEADER.replace(b"\n", b",x'; select 1; --\n")
    bench.deliver("events.csv", header + lines.replace(",1\n", ",1,y\n").encode())
    load = bench.load("events")
    assert [row[1] for row in bench.rows("events")] == texts
    assert "x'; select 1; --" in load.files[0].warnings[0]


def test_hostile_contract_names_are_quoted(tmp_path):
    hostile = 'co"l; --'
    text = CAMPUS.replace("name: country,", f"name: '{hostile}',").replace("null_values: [", 'null_values: ["it\'s", ')
    bench = Bench(tmp_path, text)
    bench.deliver("learners.csv", b'learner_id,"co""l; --"\n1,it\'s\n2,x\n')
    bench.load("learners")
    assert [row[:2] for row in bench.rows("learners")] == [(1, None), (2, "x")]


@pytest.mark.parametrize("source", ["../elsewhere", "a/b", "", "x'y", ".hidden"])
def test_source_name_cannot_leave_its_folder(bench, source):
    bench.deliver("events.csv", GOOD)
    with pytest.raises(LandingError, match="a name is made of letters"):
        bench.load("events", source)


PIECES = [b"1", b"x", b",", b'"', b"\n", b"\r\n", b"\xff", b"\\", b"2,NO\n", b'3,"S,E"\r\n', b'4,"a\nb"\n', b'"', b"\0"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.lists(st.sampled_from(PIECES), max_size=20))
def test_whatever_the_bytes_every_record_is_accepted_or_refused(bench, body):
    bench.deliver("learners.csv", b"learner_id,country\n" + b"".join(body))
    load = bench.load("learners")
    (file,) = load.files
    if file.status == "refused":
        assert bench.kept("learners")[0].read_bytes() == (bench.landing / "learners.csv").read_bytes()
        return
    assert file.accepted + file.refused == file.records
    assert len(bench.rows("learners")) == file.accepted
    quarantine = bench.quarantine("learners")
    assert len(quarantine) == file.refused
    numbers = [row[-1] for row in bench.rows("learners")] + [record for record, _, _ in quarantine]
    assert sorted(numbers) == list(range(1, file.records + 1))
