"""The Open University's real download, straight out of its zip: every row that the publication counts is in raw."""

import os
import resource
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import REPOSITORY
from tests.unit.landing_files import OULAD, Bench

ZIP = Path(os.environ.get("OULAD_ZIP") or REPOSITORY.parent / "shared/data/oulad/anonymisedData.zip")
ROWS = {
    "courses": 22,
    "assessments": 206,
    "vle": 6_364,
    "studentInfo": 32_593,
    "studentRegistration": 32_593,
    "studentAssessment": 173_912,
    "studentVle": 10_655_280,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ZIP.exists(), reason=f"OULAD's zip is not at {ZIP}; set OULAD_ZIP to where it is"),
]


def test_every_published_row_is_loaded_within_the_memory_limit_and_a_second_run_loads_nothing(tmp_path):
    bench = Bench(tmp_path, OULAD)
    loads = {table: bench.load(table, landing=ZIP) for table in ROWS}
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    assert {table: load.accepted for table, load in loads.items()} == ROWS
    assert {table: load.refused for table, load in loads.items()} == dict.fromkeys(ROWS, 0)
    assert peak_mib < 2048

    raw = bench.settings.raw_dir / "oulad"
    clicks = f"read_parquet('{raw}/studentVle/*/*/*.parquet', hive_partitioning = true)"
    ((rows, total, records, days),) = duckdb.sql(
        f"select count(*), sum(sum_click), count(distinct _record), count(distinct event_date) from {clicks}"
    ).fetchall()
    assert (rows, total, records) == (10_655_280, 39_605_099, 10_655_280)
    assert len(list((raw / "studentVle/source=here").rglob("*.parquet"))) == days
    ((copies,),) = duckdb.sql(
        f"select sum(copies - 1) from (select count(*) as copies from {clicks} "
        "group by code_module, code_presentation, id_student, id_site, date, sum_click)"
    ).fetchall()
    assert copies == 787_170
    ((students,),) = duckdb.sql(
        f"select count(distinct id_student) from read_parquet('{raw}/studentInfo/*/*.parquet')"
    ).fetchall()
    assert students == 28_785

    again = {table: bench.load(table, landing=ZIP) for table in ROWS}
    assert {file.status for load in again.values() for file in load.files} == {"unchanged"}
    assert not any(load.changed_dates for load in again.values())
