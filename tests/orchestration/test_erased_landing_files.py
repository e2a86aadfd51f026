"""An erasure that meets landing files which cannot be read or replaced, and what it leaves beside them."""

import gzip
import json
import os
import shutil
import stat
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.__main__ import _parser
from dagster_project.commands import erase
from dagster_project.defs import automation
from dagster_project.defs.raw.assets import raw_asset
from dagster_project.defs.resources import WarehouseResource
from dagster_project.ingest.requests import Erasures
from dagster_project.ingest.sources import Source, register_source
from dagster_project.privacy.erasure import stages as erasure
from dagster_project.privacy.erasure.request import request_file
from tests.disk import note_what_reaches_the_disk
from tests.unit.landing_files import OULAD, PERSONAL, Bench, gzipped, oulad_files

VISITS = b"person,minutes\np-ann,1\np-bob,2\n"
UNCLOSED = b'person,minutes\np-ann,1\np-bob,"2\n'


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A warehouse with learners in raw, that cleans landing files."""
    bench = Bench(tmp_path, PERSONAL)
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(bench.settings.home))
    monkeypatch.setenv("LEARNING_WAREHOUSE_ERASE_FROM_LANDING", "true")
    monkeypatch.setitem(automation.CONTRACTS, "personal", bench.contract)
    bench.deliver("visits.csv", VISITS)
    bench.load("visits")
    register_source(bench.settings, Source("here", "personal", bench.landing), ["personal"])
    return bench


def ask(bench: Bench, learner: str = "p-ann") -> dg.ExecuteInProcessResult:
    """Asks for an erasure by the job."""
    request_file(bench.settings).parent.mkdir(parents=True, exist_ok=True)
    request_file(bench.settings).write_text(f"here {learner}\n")
    return automation.erase_learner.execute_in_process(raise_on_error=False)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_broken_landing_file_is_named_and_stops_nothing(bench):
    bench.deliver("visits-1.csv.gz", gzipped(VISITS)[:-12])
    bench.deliver("visits-2.csv.gz", gzipped(UNCLOSED))
    bench.deliver("visits-3.parquet", b"PAR1 and no more")
    bench.deliver("visits-4.csv", VISITS)
    (bench.landing / "more.zip").write_bytes(b"no zip at all")
    delivered = files(bench.landing)
    assert ask(bench).success
    (asked,) = Erasures(bench.settings).all()
    assert asked.rewritten == ("visits-4.csv", "visits.csv")
    assert asked.landing == ("visits-2.csv", "visits-4.csv", "visits.csv")
    assert list(asked.troubled) == ["more.zip", "visits-1.csv", "visits-2.csv", "visits-3.parquet"]
    assert "cut off or damaged" in asked.troubled["visits-1.csv"]
    assert "a quote that opens in record 2 (line 3) is never closed" in asked.troubled["visits-2.csv"]
    assert (bench.landing / "visits-4.csv").read_bytes() == b"person,minutes\np-bob,2\n"
    assert gzip.decompress((bench.landing / "visits-2.csv.gz").read_bytes()) == UNCLOSED
    assert files(bench.landing) == delivered
    assert not (bench.settings.temp_dir / "_erasure").exists()


def test_the_receipt_and_the_command_name_what_the_operator_must_look_at(bench, capsys, monkeypatch):
    bench.deliver("visits-1.csv.gz", gzipped(VISITS)[:-12])

    def run(settings, source) -> int:
        bench.load("visits")
        duckdb.connect(str(settings.build_database)).close()
        erasure.unbuild(settings)
        (settings.published_dir / "snapshots" / "one").mkdir(parents=True)
        erasure.finish(settings, "one")
        return 0

    monkeypatch.setattr(erase, "run_source", run)
    settings = bench.settings.model_copy(update={"erase_from_landing": True})
    try:
        status = erase.perform(settings, _parser().parse_args(["erase", "--learner", "p-ann"]))
    except Exception as error:
        status = repr(error)
    assert status == 0
    told = capsys.readouterr().out
    assert "could not be searched or cleaned" in told
    assert "visits-1.csv: it cannot be decompressed" in told
    (receipt,) = (settings.artifacts_dir / "receipts").iterdir()
    assert list(json.loads(receipt.read_text())["landing_files_not_searched_or_not_cleaned"]) == ["visits-1.csv"]


def test_the_asset_of_a_raw_table_removes_who_asked_before_it_loads(bench):
    assert ask(bench).success
    bench.deliver("visits-2.csv", VISITS)
    visits = raw_asset(bench.contract, bench.contract.table("visits"))
    assert dg.materialize([visits], resources={"warehouse": WarehouseResource()}).success
    (asked,) = Erasures(bench.settings).all()
    assert (asked.stage, asked.removed) == ("unloaded", {"raw.visits": 1})
    assert [row[1] for row in bench.rows("visits")] == [2, 2]


def test_a_learner_is_asked_for_by_key_as_by_id(bench, capsys, monkeypatch):
    """The command and the file of the job come through one door."""
    key = f"here:{bench.rows('visits')[0][0]}"
    monkeypatch.setattr(erase, "run_source", lambda *_: 1)
    assert erase.perform(bench.settings, _parser().parse_args(["erase", "--learner", key])) == 1
    (asked,) = Erasures(bench.settings).all()
    assert ask(bench, key).success
    assert ask(bench).success
    assert [x.receipt for x in Erasures(bench.settings).all()] == [asked.receipt]


def test_no_copy_in_the_landing_folder_is_open_to_others(bench, monkeypatch):
    """Whoever looks into the folder while a file is replaced; the umask lets everybody read."""
    bench.deliver("visits-1.csv.gz", gzipped(VISITS * 1000))
    (bench.landing / "visits-1.csv.gz").chmod(0o644)
    seen, copy = set(), shutil.copyfileobj

    def look_and_copy(stream, out, *length) -> None:
        for path in bench.landing.glob(".*"):
            seen.add((path.name, oct(stat.S_IMODE(path.stat().st_mode))))
        copy(stream, out, *length)

    monkeypatch.setattr(shutil, "copyfileobj", look_and_copy)
    earlier = os.umask(0)
    try:
        assert ask(bench).success
    finally:
        os.umask(earlier)
    assert {mode for _, mode in seen} == {"0o600"}
    assert not [name for name, _ in seen if name.endswith(".plain")]
    assert stat.S_IMODE((bench.landing / "visits-1.csv.gz").stat().st_mode) == 0o644
    assert gzip.decompress((bench.landing / "visits-1.csv.gz").read_bytes()).count(b"p-ann") == 0


def test_copies_of_a_killed_attempt_go_with_the_next(bench):
    bench.deliver(".visits.csv.plain", VISITS)
    bench.deliver(".visits.csv.erasing", VISITS)
    bench.deliver(".visits.csv.Xa3b", VISITS)  # of who delivers: it is none of ours
    left = bench.settings.temp_dir / "_erasure"
    left.mkdir(parents=True)
    (left / "content.csv").write_bytes(VISITS)
    assert ask(bench).success
    assert files(bench.landing) == [".visits.csv.Xa3b", "visits.csv"]
    assert not left.exists()


def test_a_file_that_cannot_be_replaced_is_named_and_stays_whole(bench, monkeypatch):
    replace = os.replace

    def refuse(source, target) -> None:
        if Path(target) == bench.landing / "visits.csv":
            raise PermissionError(13, "Permission denied", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    bench.deliver("visits-1.csv", VISITS)
    assert ask(bench).success
    (asked,) = Erasures(bench.settings).all()
    assert (asked.landing, asked.rewritten) == (("visits-1.csv", "visits.csv"), ("visits-1.csv",))
    assert asked.troubled == {"visits.csv": "the system says Permission denied"}
    assert files(bench.landing) == ["visits-1.csv", "visits.csv"]
    assert (bench.landing / "visits.csv").read_bytes() == VISITS


def test_only_the_columns_of_people_tell_whose_a_record_is(tmp_path, monkeypatch):
    """A number that is a learner's id counts clicks in somebody else's row."""
    bench = Bench(tmp_path, OULAD)
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(bench.settings.home))
    monkeypatch.setenv("LEARNING_WAREHOUSE_ERASE_FROM_LANDING", "true")
    for name, data in oulad_files().items():
        bench.deliver(name, data)
    other = b'"AAA","2013J","12000","546943","31","11391"\r\n'
    header = oulad_files()["studentVle.csv"].splitlines(True)[0]
    bench.deliver("studentVle.csv", oulad_files()["studentVle.csv"] + other)
    bench.load("studentVle")
    register_source(bench.settings, Source("here", "oulad", bench.landing), ["oulad"])
    assert ask(bench, "11391").success
    assert (bench.landing / "studentVle.csv").read_bytes() == header + other


@pytest.mark.parametrize("learner", ["O'Brien", 'O"Brien', "Doe, Jane", "Zoë 7"])
def test_a_record_is_found_however_its_field_is_quoted(bench, learner):
    quoted = '"' + learner.replace('"', '""') + '"'
    bench.deliver("visits.csv", f"person,minutes\n{quoted},1\np-bob,2\n".encode())
    bench.load("visits")
    assert ask(bench, learner).success
    assert (bench.landing / "visits.csv").read_bytes() == b"person,minutes\np-bob,2\n"
    bench.load("visits")
    assert [row[1] for row in bench.rows("visits")] == [2]


def test_who_was_erased_is_on_the_disk_before_anything_is_removed(bench, monkeypatch):
    """A power failure after the rows are gone and before the tombstone is written would bring the learner back."""
    done = note_what_reaches_the_disk(monkeypatch)
    assert ask(bench).success
    first = [step for step in done if step[1] in (".erased.json.incoming", "erased.json", "identity")][:3]
    assert first == [("on disk", ".erased.json.incoming"), ("in place", "erased.json"), ("on disk", "identity")]
    assert stat.S_IMODE((bench.settings.identity_dir / "erased.json").stat().st_mode) == 0o600


def test_a_receipt_is_on_the_disk_before_the_request_counts_as_finished(bench, monkeypatch):
    assert ask(bench).success
    bench.load("visits")
    duckdb.connect(str(bench.settings.build_database)).close()
    erasure.unbuild(bench.settings)
    (bench.settings.published_dir / "snapshots" / "one").mkdir(parents=True)
    done = note_what_reaches_the_disk(monkeypatch)
    (receipt,) = erasure.finish(bench.settings, "one")
    finished = done.index(("in place", "erased.json"))
    assert ("on disk", "receipts") in done[:finished]
    assert any(what == "on disk" and receipt.name in name for what, name in done[:finished])
