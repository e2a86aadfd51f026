"""kill -9 at every step of a load: the table is whole before or after, and the next load finishes the job."""

import signal
import subprocess
import sys

import pytest

from dagster_project.base.files import on_disk
from dagster_project.ingest import ledger, loader
from dagster_project.ingest.sources import registered_sources
from dagster_project.ingest.swap import incoming_folders
from dagster_project.settings import REPOSITORY, Settings
from tests.unit.landing_files import EVENTS_HEADER, Bench, event_lines

BEFORE = EVENTS_HEADER + event_lines(["2024-01-01", "2024-01-02", "2024-01-03"])
AFTER = EVENTS_HEADER + event_lines(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], first=11) + b"x,,,,\n"

# Loads the table, and kills itself at the n-th call of a function.
KILLED = """
import os, signal, sys
from pathlib import Path
from dagster_project.ingest import conversion, ledger, loader, quarantine, sql, swap
from tests.unit.landing_files import Bench

folder, point, call = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
bench = Bench(folder)
owner, name = {
    "read": (conversion, "read_header"),
    "write_rows": (quarantine, "write_rows"),
    "operation": (loader, "put_in_place"),
    "begin": (ledger.Ledger, "begin"),
    "move": (Path, "replace"),
    "remove": (Path, "unlink"),
    "finish": (ledger.Ledger, "finish"),
}[point]
original, calls = getattr(owner, name), []

def killing(*args, **kwargs):
    if point == "remove" and not str(args[0]).endswith(".parquet"):
        return original(*args, **kwargs)
    calls.append(args)
    if len(calls) == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, killing)
bench.load("events")
"""


@pytest.mark.parametrize(
    ("point", "call"),
    [
        ("read", 1),
        ("write_rows", 1),
        ("begin", 1),
        ("operation", 1),
        ("move", 1),
        ("move", 3),
        ("move", 5),
        ("remove", 1),
        ("finish", 1),
    ],
)
def test_killed_load_is_finished_by_the_next_one(tmp_path, point, call):
    kill_while_loading(tmp_path, point, call, is_still_there=True)


@pytest.mark.parametrize(("point", "call"), [("begin", 1), ("move", 3)])
def test_killed_load_is_finished_or_undone_when_its_delivery_is_gone(tmp_path, point, call):
    kill_while_loading(tmp_path, point, call, is_still_there=False)


def kill_while_loading(tmp_path, point, call, *, is_still_there):
    bench = Bench(tmp_path)
    bench.deliver("events.csv", BEFORE)
    bench.load("events")
    bench.ledger.clear(bench.ledger.marked_dates("tiny", "here"))
    bench.deliver("events.csv", AFTER)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), point, str(call)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    was_begun = point in ("operation", "move", "remove", "finish")
    assert len(bench.ledger.interrupted()) == was_begun

    if is_still_there:
        load = bench.load("events")
        assert [file.status for file in load.files] == ["unchanged" if was_begun else "loaded"]
        assert (load.records, load.accepted, load.refused) == (5, 4, 1)
    else:  # the delivery that was being loaded is gone: what was begun is finished, what was not has left no trace
        (bench.landing / "events.csv").unlink()
        bench.load("events")

    if is_still_there or was_begun:
        assert [row[0] for row in bench.rows("events")] == [11, 12, 13, 14]
        assert bench.dates("events") == ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
        assert [record for record, _, _ in bench.quarantine("events")] == [5]
        marked = [day.isoformat() for day in bench.ledger.marked_dates("tiny", "here").dates]
        assert marked == ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
    else:
        assert [row[0] for row in bench.rows("events")] == [1, 2, 3]
        assert bench.ledger.marked_dates("tiny", "here").dates == ()
    assert bench.ledger.interrupted() == []
    assert not any(folder.exists() and any(folder.iterdir()) for folder in incoming_folders(bench.settings))
    assert [file.status for file in bench.load("events").files] in (["unchanged"], [])


def test_second_loader_waits_for_the_first(tmp_path):
    """Two processes load the same new file: one loads it, the other finds it loaded."""
    bench = Bench(tmp_path)
    bench.deliver("events.csv", EVENTS_HEADER + event_lines(["2024-01-01"] * 2000))
    script = (
        "import sys; from pathlib import Path; from tests.unit.landing_files import Bench;"
        "print(Bench(Path(sys.argv[1])).load('events').files[0].status)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert sorted(process.communicate()[0].strip() for process in processes) == [b"loaded", b"unchanged"]
    assert len(bench.rows("events")) == 2000


def test_sources_registered_at_the_same_time_are_all_known(tmp_path):
    script = (
        "import sys; from pathlib import Path; from dagster_project.settings import Settings;"
        "from dagster_project.ingest.sources import Source, register_source;"
        "settings = Settings(home=Path(sys.argv[1]));"
        "[register_source(settings, Source(sys.argv[2] + str(i), 'oulad', Path('/')), ['oulad']) for i in range(20)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name], cwd=REPOSITORY) for name in ("a", "b")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(registered_sources(Settings(home=tmp_path))) == 40


def test_rows_are_on_the_disk_before_the_ledger_knows_of_them(tmp_path, monkeypatch):
    bench, order = Bench(tmp_path), []
    monkeypatch.setattr(loader, "on_disk", lambda folder: order.append(any(folder.rglob("*.parquet"))))
    begin = ledger.Ledger.begin
    monkeypatch.setattr(ledger.Ledger, "begin", lambda *args: (order.append("begin"), begin(*args)))
    bench.deliver("events.csv", AFTER)
    bench.load("events")
    assert order == [True, "begin"]


def test_on_disk_tells_of_a_folder_that_is_not_there(tmp_path):
    on_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        on_disk(tmp_path / "missing")


def test_a_ledger_that_cannot_be_written_is_named(tmp_path):
    bench = Bench(tmp_path)
    bench.settings.raw_dir.mkdir(parents=True)
    (bench.settings.raw_dir / "ledger.sqlite").mkdir()
    with pytest.raises(OSError, match=r"ledger\.sqlite: unable to open database file\. See that"):
        bench.ledger.files("tiny")
