"""A look at a landing place tells everything that is wrong at once, and refuses nothing that the loader takes."""

import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.ingest.landing import LandingError
from dagster_project.ingest.preflight import check_landing
from tests.unit.landing_files import CAMPUS, EVENTS_HEADER, PERSONAL, Bench, gzipped
from tests.unit.landing_mutations import deliveries, good_file

LEARNERS = b"learner_id,country\n1,NL\n"
EVENTS = EVENTS_HEADER + b"1,x,2024-01-31 10:00:00,,2.5\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.deliver("learners.csv", LEARNERS)
    bench.deliver("events.csv", EVENTS)
    return bench


def told(bench: Bench) -> str:
    with pytest.raises(LandingError) as error:
        check_landing(bench.contract, "uni_a", bench.landing, bench.settings)
    return str(error.value)


def test_sound_files_are_passed(bench):
    assert check_landing(bench.contract, "uni_a", bench.landing, bench.settings) == []


def test_all_missing_tables_are_told_at_once_with_what_may_be_meant(bench):
    (bench.landing / "learners.csv").rename(bench.landing / "learner.csv")
    (bench.landing / "events.csv").rename(bench.landing / "events.xlsx")
    message = told(bench)
    assert "no file for 2 tables: learners, events. Looked for <table>.csv" in message
    assert "learner.csv is no name of a file of table learners. Did you mean learners.csv?" in message
    assert "events.xlsx is a spreadsheet, which is not read: save it as CSV (UTF-8), events.csv" in message
    assert "lie: events.xlsx, learner.csv" in message


def test_tables_that_may_be_absent_may_not_be_so_all_at_once(bench):
    absent = replace(bench.contract, tables=tuple(replace(table, optional=True) for table in bench.contract.tables))
    bench.contract = absent
    (bench.landing / "learners.csv").unlink()
    assert check_landing(absent, "uni_a", bench.landing, bench.settings) == []
    (bench.landing / "events.csv").unlink()
    assert "no file for 2 tables: learners, events." in told(bench)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            EVENTS.replace(b",", b";"),
            "the file is separated by ';' where the contract tiny says ','; set `csv: delimiter` in",
        ),
        (EVENTS.replace(b",", b"\t"), "the file is separated by tabs where the contract tiny says ','"),
        (EVENTS.decode().encode("utf-16"), "the file is not UTF-8 text but UTF-16"),
        (EVENTS.decode().encode("utf-16-le"), "the file is not UTF-8 text but UTF-16"),
        (b"PK\x03\x04\x14\0\0\0\0\0" + b"\0" * 40, "the file is not UTF-8 text but an Excel workbook or another zip"),
        (EVENTS.replace(b"note", b"notes"), "column note is missing (renamed to notes?)"),
        (b"", "the file is empty"),
    ],
    ids=["semicolons", "tabs", "utf-16", "utf-16 without mark", "xlsx", "renamed", "empty"],
)
def test_a_file_of_another_kind_is_named(bench, data, words):
    bench.deliver("events.csv", data)
    assert f"table events, events.csv: {words}" in told(bench)


def test_several_faults_come_in_one_message(bench):
    bench.deliver("events.csv", EVENTS.replace(b"note,", b"").replace(b"minutes", b"minute"))
    bench.deliver("learners.csv", LEARNERS.replace(b",", b";"))
    message = told(bench)
    assert "column note is missing" in message
    assert "column minutes is missing (renamed to minute?)" in message
    assert "learners.csv: the file is separated by ';'" in message


def test_a_folder_with_only_new_files_is_legal_as_it_is_for_the_loader(bench):
    bench.load("learners", "uni_a", bench.landing)
    (bench.landing / "learners.csv").unlink()
    assert check_landing(bench.contract, "uni_a", bench.landing, bench.settings) == []
    assert "no file for table learners" in _of_another_source(bench)


def _of_another_source(bench: Bench) -> str:
    with pytest.raises(LandingError) as error:
        check_landing(bench.contract, "uni_b", bench.landing, bench.settings)
    return str(error.value)


def test_an_older_snapshot_that_is_not_read_may_be_broken(bench):
    bench.deliver("learners-2023.csv", b"not a header\n")
    (bench.landing / "learners.csv").rename(bench.landing / "learners-2024.csv")
    assert check_landing(bench.contract, "uni_a", bench.landing, bench.settings) == []
    assert bench.load("learners", "uni_a", bench.landing).refused_files == ()


@pytest.mark.parametrize("data", [b"", b"\n", b"learner_id,country\n"])
def test_an_optional_table_may_be_empty(tmp_path, data):
    bench = Bench(tmp_path, CAMPUS.replace("delivery: snapshot,", "delivery: snapshot, optional: true,"))
    bench.deliver("events.csv", EVENTS)
    bench.deliver("learners.csv", data)
    assert check_landing(bench.contract, "uni_a", bench.landing, bench.settings) == []
    load = bench.load("learners", "uni_a", bench.landing)
    assert (load.refused_files, load.records) == ((), 0)


def test_most_of_the_first_rows_are_strange(bench):
    bench.deliver("events.csv", EVENTS_HEADER + b"1,x,31.12.2024,,2\n" * 3 + b"1,x,2024-01-31,,2\n")
    (note,) = check_landing(bench.contract, "uni_a", bench.landing, bench.settings)
    assert note.startswith("events.csv: 3 of its first 4 rows would be refused")
    assert "column occurred_at: '31.12.2024' is not of type timestamp" in note


def test_packed_files_are_looked_into(bench):
    for name in ("learners.csv", "events.csv"):
        (bench.landing / name).unlink()
    with zipfile.ZipFile(bench.landing / "all.zip", "w") as archive:
        archive.writestr("learners.csv", LEARNERS)
        archive.writestr("events.csv.gz", gzipped(EVENTS.replace(b",", b";")))
    assert "events.csv: the file is separated by ';'" in told(bench)


@pytest.mark.timeout(600)
def test_nothing_is_refused_that_the_loader_takes(tmp_path):
    benches = {}
    for text in (CAMPUS, PERSONAL):
        (folder := tmp_path / str(len(benches))).mkdir()
        benches[folder.name] = Bench(folder, text)
    seen = {"refused": 0, "passed": 0}

    @given(st.data())
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def compare(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(benches)))
        bench = benches[name]
        table = data.draw(st.sampled_from([table for table in bench.contract.tables if not table.optional]))
        delivery = data.draw(deliveries(bench.contract, table))
        landing = bench.landing / f"{sum(seen.values())}"
        landing.mkdir()
        for other in bench.contract.tables:
            if other is not table:
                (landing / f"{other.name}.csv").write_bytes(good_file(bench.contract, other, "csv"))
        (landing / delivery.name).write_bytes(delivery.data)
        try:
            check_landing(bench.contract, f"s{sum(seen.values())}", landing, bench.settings)
        except LandingError:
            seen["refused"] += 1
        else:
            seen["passed"] += 1
            return
        with suppress(LandingError):  # which refuses it as well
            assert bench.load(table.name, f"s{sum(seen.values())}", landing).refused_files

    compare()
    assert min(seen.values()) > 0


def test_json_that_would_be_refused_is_told_beforehand(tmp_path):
    bench = Bench(tmp_path, JSON_CONTRACT)
    bench.deliver("things.jsonl", b'{"id": "x"}\nhello\n{"id": 1}\n')
    bench.deliver("lists.json", b'[{"id": 1}, {"id": 2}]')
    notes = check_landing(bench.contract, "here", bench.landing, bench.settings)
    assert notes == [
        "things.jsonl: 2 of its first 3 records would be refused, such as the first of them: "
        "column id: 'x' is not of type bigint."
    ]
    bench.deliver("things.jsonl", gzipped(b'{"id": 1}\n'))
    bench.deliver("lists.json", b'{"id": 1}')
    with pytest.raises(LandingError) as error:
        check_landing(bench.contract, "here", bench.landing, bench.settings)
    assert "table things, things.jsonl: the file is not UTF-8 text but gzip" in str(error.value)
    assert "table lists, lists.json: the file is no array of records" in str(error.value)


def test_a_long_array_is_looked_at_as_far_as_its_first_bytes_go(tmp_path):
    bench = Bench(tmp_path, JSON_CONTRACT)
    bench.deliver("things.jsonl", b'{"id": 1}\n' * 30_000)
    bench.deliver("lists.json", b"[" + b'{"id": 1},\n' * 30_000 + b'{"id": 2}]')
    assert check_landing(bench.contract, "here", bench.landing, bench.settings) == []


JSON_CONTRACT = """
sources:
  - name: raw_plain
    config: {meta: {contract: plain}}
    tables:
      - name: things
        config: {meta: {delivery: append, format: jsonl}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
      - name: lists
        config: {meta: {delivery: append, format: json_array}}
        columns:
          - {name: id, data_type: bigint, config: {meta: {required: true}}}
"""
