"""The models on the Open University's real download: the published counts, and no week that knows what came later."""

import os
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import REPOSITORY
from tests.models.made_source import GRADING_DAYS, Warehouse
from tests.unit.landing_files import OULAD, Bench

ZIP = Path(os.environ.get("OULAD_ZIP") or REPOSITORY.parent / "shared/data/oulad/anonymisedData.zip")
TABLES = ["courses", "assessments", "vle", "studentInfo", "studentRegistration", "studentAssessment", "studentVle"]
WEEKS = "marts.mart_learner_course_week"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not ZIP.exists(), reason=f"OULAD's zip is not at {ZIP}; set OULAD_ZIP to where it is"),
]


@pytest.fixture(scope="module")
def oulad(tmp_path_factory) -> Warehouse:
    folder = tmp_path_factory.mktemp("oulad")
    bench = Bench(folder, OULAD)
    for table in TABLES:
        bench.load(table, landing=ZIP)
    warehouse = Warehouse(bench.settings.home)
    warehouse.build("build", "--exclude-resource-type", "unit_test")
    return warehouse


def test_counts_equal_the_published_ones(oulad):
    assert oulad.query("select sum(click_count), sum(event_count) from core.fct_daily_activity") == [
        (39_605_099, 10_655_280)
    ]
    assert oulad.query("select count(*) from core.dim_learner") == [(28_785,)]
    assert dict(oulad.query("select outcome, count(*) from core.fct_course_enrollment group by 1")) == {
        "pass": 12_361,
        "withdrawn": 10_156,
        "fail": 7_052,
        "distinction": 3_024,
    }
    assert oulad.query("select count(*) from marts.mart_learner_course where not has_activity") == [(3_365,)]
    assert oulad.query("select sum(click_count) from marts.mart_learner_course") == [(39_605_099,)]
    assert oulad.query("select count(*) from core.fct_held_rows") == [(0,)]
    assert oulad.query("select sum(duplicate_row_count) from core.fct_duplicate_rows") == [(0,)]


def test_reregistration_is_known_for_starters_of_2013_only(oulad):
    shares = oulad.query(
        "select first_term_name, round(100 * reregistered_next_year_share, 1) from reporting.program_reregistration "
        "where level = 'program_term'"
    )
    assert dict(shares) == {"2013B": 5.6, "2013J": 9.8, "2014B": None, "2014J": None}


@pytest.mark.parametrize("cut", [date(2013, 3, 15), date(2014, 11, 12)], ids=["week 6 of 2013B", "week 6 of 2014J"])
def test_weeks_built_from_data_cut_at_a_date_equal_those_of_all_data(oulad, tmp_path, cut):
    deliver_until(cut, oulad.home / "raw/oulad", tmp_path / "raw/oulad")
    truncated = Warehouse(tmp_path)
    truncated.build("run", "--select", f"+{WEEKS.split('.')[1]}")

    with duckdb.connect() as connection:
        connection.execute(f"attach '{oulad.home}/build.duckdb' as complete (read_only)")
        connection.execute(f"attach '{tmp_path}/build.duckdb' as cut (read_only)")
        until = f"from complete.{WEEKS} where as_of_on <= date '{cut}'"
        ((rows,), (cut_rows,)) = connection.execute(
            f"select count(*) {until} union all select count(*) from cut.{WEEKS}"
        ).fetchall()
        ((more,),) = connection.execute(f"select count(*) from ({until} except all from cut.{WEEKS})").fetchall()
        ((weeks,),) = connection.execute(
            f"select count(distinct week_number) from cut.{WEEKS} where as_of_on > date '{cut}' - 42"
        ).fetchall()
    assert (rows, more) == (cut_rows, 0)
    assert rows > 30_000
    assert weeks >= 6


def deliver_until(cut: date, full: Path, raw: Path) -> None:
    """Raw as it was on the morning of a day: nothing dated on it or later."""
    for table in ("courses", "assessments", "vle"):
        shutil.copytree(full / table / "source=here", raw / table / "source=here")
    for partition in (full / "studentVle/source=here").iterdir():
        if partition.name < f"event_date={cut}":
            shutil.copytree(partition, raw / "studentVle/source=here" / partition.name, copy_function=os.link)

    grading = " ".join(f"when '{kind}' then {days}" for kind, days in GRADING_DAYS.items())
    start = (
        "make_date(left(code_presentation, 4)::int, case right(code_presentation, 1) when 'B' then 2 else 10 end, 1)"
    )
    place = "code_module, code_presentation"
    rows = {
        "studentRegistration": f"""
            select * replace (case when {start} + date_unregistration < day_of_cut then date_unregistration end
                as date_unregistration)
            from studentRegistration where {start} + coalesce(date_registration, 0) < day_of_cut""",
        "studentInfo": f"""
            select studentInfo.* replace (
                case when {start.replace("code_", "studentInfo.code_")} + case
                    when final_result <> 'Withdrawn' then module_presentation_length - 1 + {GRADING_DAYS["Exam"]}
                    else coalesce(date_unregistration, module_presentation_length - 1) end < day_of_cut
                then final_result end as final_result)
            from studentInfo
            join studentRegistration using ({place}, id_student)
            join courses using ({place})
            where {start.replace("code_", "studentInfo.code_")} + coalesce(date_registration, 0) < day_of_cut""",
        "studentAssessment": f"""
            select studentAssessment.* replace (
                case when {start} + date_submitted
                    + case when is_banked = 1 then 0 else case assessment_type {grading} end end < day_of_cut
                then score end as score)
            from studentAssessment join assessments using (id_assessment)
            where {start} + date_submitted < day_of_cut""",
    }
    with duckdb.connect() as connection:
        for table in TABLES[:-1]:
            connection.execute(
                f"create view {table} as from "
                f"read_parquet('{full}/{table}/source=here/*.parquet', hive_partitioning = false)"
            )
        for table, sql in rows.items():
            folder = raw / table / "source=here"
            folder.mkdir(parents=True)
            dated = sql.replace("day_of_cut", f"date '{cut}'")
            connection.execute(f"copy ({dated}) to '{folder}/{table}.parquet' (format parquet)")
