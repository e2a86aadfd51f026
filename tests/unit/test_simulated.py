"""A source is simulated where bytes that a simulation's manifest names are loaded, and nowhere else."""

import hashlib
import json
import zipfile

import pytest

from dagster_project.ingest.ledger import Ledger
from tests.unit.landing_files import EVENTS_HEADER, Bench, event_lines

EVENTS = EVENTS_HEADER + event_lines(["2024-03-01"])
LEARNERS = b"learner_id,country\n1,DE\n"


def manifest(*contents: bytes) -> bytes:
    files = {f"file {place}": hashlib.sha256(content).hexdigest() for place, content in enumerate(contents)}
    return json.dumps({"files": files}).encode()


def is_simulated(bench: Bench) -> bool:
    bench.load("events")
    return Ledger(bench.settings).is_simulated(bench.contract.name, "here")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("events/one.csv", EVENTS)
    bench.deliver("learners-1.csv", LEARNERS)
    return bench


def test_a_manifest_marks_the_files_that_it_names(bench):
    bench.deliver("simulated.json", manifest(EVENTS))
    assert is_simulated(bench)


def test_a_source_without_a_manifest_is_real(bench):
    assert not is_simulated(bench)


def test_other_files_beside_a_manifest_are_real(bench):
    bench.deliver("simulated.json", manifest(LEARNERS, EVENTS + b"\n"))
    assert not is_simulated(bench)


def test_a_file_that_takes_the_place_of_a_simulated_one_is_real(bench):
    bench.deliver("simulated.json", manifest(EVENTS))
    assert is_simulated(bench)
    bench.deliver("events/one.csv", EVENTS_HEADER + event_lines(["2024-03-02"]))
    assert not is_simulated(bench)


def test_a_file_without_rows_says_nothing_of_a_source(bench):
    bench.deliver("events/one.csv", EVENTS_HEADER)
    bench.deliver("simulated.json", manifest(EVENTS_HEADER))
    assert not is_simulated(bench)


def test_a_manifest_counts_in_a_zip_and_stays_known_when_it_is_gone(bench):
    (bench.landing / "events/one.csv").unlink()
    with zipfile.ZipFile(bench.landing / "all.zip", "w") as archive:
        archive.writestr("campus/events/one.csv", EVENTS)
        archive.writestr("campus/simulated.json", manifest(EVENTS))
    assert is_simulated(bench)
    (bench.landing / "all.zip").unlink()
    assert Ledger(bench.settings).is_simulated(bench.contract.name, "here")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"files": ["x"]}', b'{"files": {"x": 1, "y": "z"}}', b"[" * 100_000]
)
def test_a_file_of_that_name_that_is_no_manifest_is_passed_over(bench, content):
    bench.deliver("simulated.json", content)
    assert not is_simulated(bench)
    assert len(bench.rows("events")) == 1
