"""Dagster's records of runs after an erasure: nobody is named, and every record, figure and next run is as before."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.ingest import requests
from dagster_project.ingest.erasure import request_erasure
from dagster_project.ingest.recognition import Erased
from dagster_project.ingest.requests import Erasures
from dagster_project.privacy.erasure import stages as erasure
from dagster_project.privacy.erasure.history import mask_records
from dagster_project.settings import REPOSITORY
from tests.unit.landing_files import OULAD, PERSONAL, Bench, oulad_files

NUMBER = "11391"
WORDS = ("some", "text")
"""Ids that are also the name of an asset, and of a field of Dagster's own JSON."""


@dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="some")])
def some(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info(f"Loaded {NUMBER} rows")
    context.log.info(f"Refused: learner here:{NUMBER}:AAA, id_student={NUMBER}")
    table = dg.MetadataValue.table([dg.TableRecord({"clicks": int(NUMBER), "example": NUMBER})])
    return dg.MaterializeResult(
        metadata={"row_count": int(NUMBER), "share": 11391.5, "rows": table, "examples": {NUMBER: [int(NUMBER)]}},
        tags={"example": NUMBER},
        check_results=[
            dg.AssetCheckResult(
                passed=True,
                check_name="holds",
                metadata={
                    "example": NUMBER,
                    "text": f'{{"learner": "{NUMBER}", "clicks": {NUMBER}}}',
                    "word": WORDS[0],
                    "other": WORDS[1],
                },
            )
        ],
    )


@pytest.fixture
def instance(tmp_path, monkeypatch):
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copy(REPOSITORY / "dagster_project" / "dagster.yaml", folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    with dg.DagsterInstance.get() as instance:
        yield instance


def numbered(folder: Path) -> Bench:
    """A warehouse whose one learner has a number for an id."""
    bench = Bench(folder, OULAD)
    for name, data in oulad_files().items():
        bench.deliver(name, data)
    return bench


def erase(bench: Bench, learner: str) -> None:
    """An erasure from request to receipt, with a build and a publication of next to nothing in between."""
    tables = [table.name for table in bench.contract.tables]
    for table in tables:
        bench.load(table)
    request_erasure(bench.settings, bench.contract, "here", learner_id=learner)
    for table in tables:
        bench.load(table)
    duckdb.connect(str(bench.settings.build_database)).close()
    erasure.unbuild(bench.settings)
    (bench.settings.published_dir / "snapshots" / "one").mkdir(parents=True)
    assert len(erasure.finish(bench.settings, "one")) == 1
    assert [x.stage for x in Erasures(bench.settings).all()] == ["finished"]


def told_texts() -> list[str]:
    """The texts that Dagster keeps of runs, from every database of its home."""
    texts = []
    for path in Path(os.environ["DAGSTER_HOME"]).rglob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            for table, column in (
                ("event_logs", "event"),
                ("asset_keys", "last_materialization"),
                ("asset_check_executions", "evaluation_event"),
                ("runs", "run_body"),
            ):
                if connection.execute("select 1 from sqlite_master where name = ?", [table]).fetchone():
                    rows = connection.execute(f"select {column} from {table} where {column} is not null").fetchall()
                    texts += [text for (text,) in rows]
    return texts


def not_json(texts: list[str]) -> list[str]:
    broken = []
    for text in texts:
        try:
            json.loads(text)
        except ValueError:
            broken.append(text)
    return broken


def evaluation(entries) -> dg.AssetCheckEvaluation:
    (found,) = [
        entry.dagster_event.asset_check_evaluation_data
        for entry in entries
        if entry.is_dagster_event and entry.dagster_event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return found


def test_a_learner_whose_id_is_a_number_is_masked_and_every_figure_is_read_as_before(instance, tmp_path):
    run = dg.materialize([some], instance=instance, tags={"example": NUMBER, "dagster/priority": NUMBER})
    count = len(instance.all_logs(run.run_id))
    erase(numbered(tmp_path), NUMBER)
    assert not_json(told_texts()) == []

    entries = instance.all_logs(run.run_id)
    assert len(entries) == count
    event = instance.get_latest_materialization_event(dg.AssetKey("some"))
    metadata = event.asset_materialization.metadata
    assert metadata["row_count"].value == int(NUMBER)
    assert metadata["share"].value == 11391.5
    assert metadata["rows"].records == [dg.TableRecord({"clicks": int(NUMBER), "example": "*****"})]
    assert metadata["examples"].value == {"*****": [int(NUMBER)]}
    assert event.asset_materialization.tags["example"] == "-----"
    check = evaluation(entries)
    assert check.metadata["example"].value == "*****"
    assert check.metadata["text"].value == f'{{"learner": "*****", "clicks": {NUMBER}}}'
    messages = [entry.user_message for entry in entries]
    assert f"Loaded {NUMBER} rows" in messages
    assert "Refused: learner here:*****:AAA, id_student=*****" in messages
    tags = instance.get_run_by_id(run.run_id).tags
    assert (tags["example"], tags["dagster/priority"]) == ("-----", NUMBER)
    assert [x.run_id for x in instance.get_runs(dg.RunsFilter(tags={"example": "-----"}))] == [run.run_id]

    assert dg.materialize([some], instance=instance).success
    event = instance.get_latest_materialization_event(dg.AssetKey("some"))
    assert event.asset_materialization.metadata["row_count"].value == int(NUMBER)


@pytest.mark.parametrize(("word", "label"), [(WORDS[0], "word"), (WORDS[1], "other")])
def test_a_learner_who_is_called_like_a_part_of_the_pipeline_leaves_it_whole(instance, tmp_path, word, label):
    run = dg.materialize([some], instance=instance)
    count = len(instance.all_logs(run.run_id))
    bench = Bench(tmp_path, PERSONAL)
    bench.deliver("people.csv", f"person,full_name,email,visits\n{word},Ann Archer,a@example.org,1\n".encode())
    bench.deliver("visits.csv", f"person,minutes\n{word},1\n".encode())
    bench.deliver("messages.csv", f"sender,plain,receiver,sent_at\n{word},x,{word},2024-01-01 10:00:00\n".encode())
    erase(bench, word)
    event = instance.get_latest_materialization_event(dg.AssetKey("some"))
    assert event is not None, "the asset is not found by its key"
    assert (event.run_id, event.step_key) == (run.run_id, "some")
    assert event.asset_materialization.asset_key == dg.AssetKey("some")
    entries = instance.all_logs(run.run_id)
    assert len(entries) == count
    check = evaluation(entries)
    assert check.asset_check_key == dg.AssetCheckKey(dg.AssetKey("some"), "holds")
    assert check.metadata[label].value == "****"
    assert dg.materialize([some], instance=instance).success


def test_what_a_run_writes_while_its_records_are_masked_is_not_lost(instance, tmp_path, monkeypatch):
    """Between reading and writing a row nobody else may write it: what they wrote would be undone."""
    dg.materialize([some], instance=instance)
    bench = numbered(tmp_path)
    index = Path(instance.event_log_storage.path_for_shard("index"))
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("update asset_keys set asset_details = ?", [json.dumps({"wiped": NUMBER})])
    hashed, tried = requests.keyed_hash, []

    def write_meanwhile(value: str, key: bytes) -> str:
        if value == "here:wiped" and not tried:
            with closing(sqlite3.connect(index, timeout=0)) as other:
                try:
                    other.execute("update asset_keys set asset_details = 'written meanwhile'")
                    other.commit()
                    tried.append("written meanwhile")
                except sqlite3.OperationalError as error:
                    tried.append(str(error))
        return hashed(value, key)

    tables = [table.name for table in bench.contract.tables]
    for table in tables:
        bench.load(table)
    request_erasure(bench.settings, bench.contract, "here", learner_id=NUMBER)
    monkeypatch.setattr(requests, "keyed_hash", write_meanwhile)
    mask_records(bench.settings, Erased.of(bench.settings, "here"))
    with closing(sqlite3.connect(index)) as database:
        ((details,),) = database.execute("select asset_details from asset_keys").fetchall()
    assert (tried, details) == (["database is locked"], '{"wiped": "*****"}')
