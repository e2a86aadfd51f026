"""What Open edX writes, through the loader: statements of a MOOC, a log with prefixes, both shapes of one week."""

import json
import os
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import REPOSITORY
from tests.models.made_openedx import CONTRACT, lines_of_a_week, statements_of_the_week
from tests.unit.landing_files import Bench

DATA = Path(os.environ.get("OPENEDX_DATA") or REPOSITORY.parent / "shared/data/openedx")
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"no Open edX reference data in {DATA}; set OPENEDX_DATA")
PREFIX = "2024-03-04 10:00:00,123 INFO 7 [tracking] [user 7] [ip 192.0.2.1] logger.py:41 - "


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, CONTRACT)


def raw(bench: Bench, table: str, columns: str, rest: str = "") -> list[tuple]:
    files = bench.settings.raw_dir / "openedx" / table / "source=here" / "**" / "*.parquet"
    return duckdb.sql(f"select {columns} from read_parquet('{files}', hive_partitioning = true) {rest}").fetchall()


@needs_data
def test_statements_of_a_mooc_are_loaded_by_verb(bench):
    load = bench.load("statements", landing=DATA / "statements")
    assert (load.accepted, load.refused) == (22_000, 0)
    verbs = "regexp_extract(verb, '[^/]*$'), count(*)"
    assert dict(raw(bench, "statements", verbs, "group by all")) == {
        "played": 6_603,
        "paused": 6_480,
        "interacted": 3_546,
        "seeked": 2_995,
        "initialized": 1_348,
        "completed": 636,
        "terminated": 338,
        "downloaded": 54,
    }
    assert raw(bench, "statements", "count(distinct actor_id), count(distinct object_id)") == [(1_452, 10)]
    assert {file.status for file in bench.load("statements", landing=DATA / "statements").files} == {"unchanged"}


@needs_data
def test_lines_of_a_log_are_loaded_and_broken_ones_refused(bench):
    """The third of 12 lines lacks a brace, the eleventh is cut off."""
    bench.deliver("tracking.log", (DATA / "tracking.log").read_bytes())
    load = bench.load("tracking_log")
    assert (load.accepted, load.refused) == (10, 2)
    assert [record for record, *_ in bench.quarantine("tracking_log")] == [3, 11]
    assert len(set(raw(bench, "tracking_log", "record_hash"))) == 10


def test_a_learner_has_one_pseudonym_in_lines_statements_and_external_ids(bench):
    """Vector wraps statements as strings; the log has prefixes. Nothing of an answer or a name reaches raw."""
    lines = "".join(PREFIX + json.dumps(record) + "\n" for record in lines_of_a_week())
    wrapped = [{"event_id": x["id"], "event": json.dumps(x)} for x in statements_of_the_week()]
    bench.deliver("tracking.log-20240305", lines.encode())
    bench.deliver("xapi_events_all.json", "".join(json.dumps(x) + "\n" for x in wrapped).encode())
    names = b"external_user_id,external_id_type,username,user_id,dump_id,time_last_dumped\n"
    bench.deliver("external_id.csv", names + b"a-1,xapi,anna,7,d,2024-03-01 00:00:00\n")
    for table, rows in {"tracking_log": 5, "statements": 7, "external_id": 1}.items():
        load = bench.load(table)
        assert (load.accepted, load.refused) == (rows, 0), table
    ((external, username, number),) = raw(bench, "external_id", "external_user_id, username, user_id")
    assert raw(bench, "statements", "distinct actor_id") == [(external,)]
    assert raw(bench, "tracking_log", "distinct username, session_user_id") == [(username, number)]
    assert len({external, username, number, "a-1", "anna", "7"}) == 6
    everything = str(raw(bench, "tracking_log", "*") + raw(bench, "statements", "*"))
    assert "blue" not in everything
    assert "anna" not in everything
