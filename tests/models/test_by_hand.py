"""The marts equal those of the script written by hand, `benchmarks/by_hand.sql`, on a small source in OULAD's form."""

import csv
from pathlib import Path

import duckdb

from benchmarks import oulad_steps
from tests.models.made_source import MadeWarehouse, Source, contract_tables, make_source


def with_all_kinds(source: Source) -> Source:
    """Pages of the kinds that the others lack: of a kind that no page has, the warehouse tells nothing at all."""
    place = source.tables["courses"][0]
    place = {name: place[name] for name in ("code_module", "code_presentation")}
    more = [{**place, "id_site": 9000 + n, "activity_type": kind} for n, kind in enumerate(("ouwiki", "ouelluminate"))]
    return Source(source.name, {**source.tables, "vle": source.tables["vle"] + more})


def write_files(source: Source, folder: Path) -> None:
    folder.mkdir()
    for table, columns in contract_tables().items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(source.tables[table])


def test_the_marts_equal_those_of_the_script_written_by_hand(tmp_path, monkeypatch):
    source = with_all_kinds(make_source("oulad", seed=11))
    write_files(source, tmp_path / "csv")
    by_hand = tmp_path / "by_hand.duckdb"
    with duckdb.connect(by_hand, config={"threads": 2, "memory_limit": "500MB"}) as engine:
        engine.execute("set variable folder = ?", [str(tmp_path / "csv")])
        engine.execute(oulad_steps.BY_HAND.read_text())

    warehouse = MadeWarehouse(tmp_path / "warehouse")
    warehouse.deliver(source)
    warehouse.build("run", "--select", *(f"+{table.split('.')[1]}" for table in oulad_steps.TABLES))
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(warehouse.home))
    compared = oulad_steps.compare(str(by_hand), str(warehouse.home / "build.duckdb"))
    assert compared["differences"] == []
    ((weeks,),) = warehouse.query("select count(*) from marts.mart_learner_course_week")
    assert compared["rows"] > weeks > 1000
