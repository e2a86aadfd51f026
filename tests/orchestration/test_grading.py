"""Severities, agreement and adjusted grades as assets: on marks of known severity, and where nothing tells it."""

import datetime
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from dagster_project.analyses.grading import ADJUSTED, AGREEMENT, SEVERITIES, TABLES
from dagster_project.defs.grading import checks
from dagster_project.defs.grading.assets import grading
from dagster_project.defs.resources import WarehouseResource
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse

CHECKS = [checks.grader_severities_are_withheld_without_a_link, checks.adjusted_grades_follow_shown_severities]
PEER, MACHINE = -6.0, 4.0  # points against staff
HARSH = 8.0  # a member of staff, against the others


def tables() -> dict[str, pd.DataFrame]:
    """Two essays by 400 learners, of 20 points and of 4: peers mark the one, staff the other; some are marked again.

    A quiz is marked automatically and by nobody else.
    """
    rng = np.random.default_rng(8)
    learner = np.repeat(np.arange(400), 3)
    item = np.tile(["peer essay", "staff essay", "quiz"], 400)
    quality = 60 + rng.normal(0, 6, 400)[learner] + rng.normal(0, 10, len(learner))
    given_by = np.tile(["peer", "staff", "automatic"], 400)
    severity = np.where(given_by == "peer", PEER, 0.0)
    most = np.where(item == "staff essay", 4.0, 20.0)

    def score(which: np.ndarray, severity: np.ndarray) -> np.ndarray:
        share = np.clip(quality[which] + rng.normal(0, 7, len(which)) - severity, 0, 100) / 100
        return np.rint(share * most[which])

    everyone = np.arange(len(learner))
    key = np.array([f"uni:l{n}:c:t:{i}:1" for n, i in zip(learner, item, strict=True)])
    enrollment = np.array([f"uni:l{n}:c:t" for n in learner])
    submissions = pd.DataFrame(
        {
            "source": "uni",
            "learner_key": [f"uni:l{n}" for n in learner],
            "course_enrollment_key": enrollment,
            "submission_key": key,
            "course_item_key": item,
            "graded_by": given_by,
            "score": score(everyone, severity),
            "maximum_score": most,
            "score_known_on": np.where(learner % 2 == 0, datetime.date(2024, 3, 1), datetime.date(2024, 9, 1)),
            "is_first": True,
            "is_carried_over": False,
        }
    )
    again = everyone[(item != "quiz") & (learner < 250)]
    by = np.where(item[again] == "peer essay", "staff", "automatic")
    grader = np.where(by == "staff", np.where(learner[again] % 3 == 0, "uni:harsh", "uni:mild"), None)
    severity = np.where(by == "automatic", MACHINE, np.where(grader == "uni:harsh", 2 / 3, -1 / 3) * HARSH)
    marks = pd.DataFrame(
        {
            "submission_key": key[again],
            "graded_by": by,
            "grader_key": grader,
            "is_part_of_grade": False,
            "marked_on": submissions["score_known_on"].to_numpy()[again],
            "score": score(again, severity),
            "maximum_score": most[again],
        }
    )
    alone = submissions[submissions["course_item_key"] != "staff essay"].assign(source="alone")
    alone["submission_key"] = alone["submission_key"].str.replace("uni:", "alone:")
    submissions = pd.concat([submissions, alone])
    for frame in (submissions, marks):
        frame["score_share"] = frame["score"] / frame["maximum_score"]
    return {
        "core.fct_submission": submissions,
        "core.fct_submission_mark": marks,
        "core.dim_source": pd.DataFrame(
            {"source": ["alone", "uni"], "last_data_on": [datetime.date(2024, 12, 31)] * 2}
        ),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path_factory.mktemp("grading")))
        settings = Settings()
        settings.build_database.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(settings.build_database)) as connection:
            for schema in ("core", "features", "analytics"):
                connection.execute(f"create schema {schema}")
            for name, frame in tables().items():
                connection.register("frame", frame)
                connection.execute(f"create table {name} as from frame")
            # The model's own SQL, over the tables made here.
            sql = (REPOSITORY / "dbt/models/features/feature_grader_marks.sql").read_text()
            sql = re.sub(r'{{ ref\("(\w+)"\) }}', r"core.\1", sql).replace("{{ dbt.type_string() }}", "varchar")
            connection.execute(f"create view features.feature_grader_marks as {sql}")
        result = dg.materialize([grading, *CHECKS], resources={"warehouse": WarehouseResource()})
        assert result.success
        assert all(x.passed and x.blocking for x in result.get_asset_check_evaluations())
        yield settings.home


@pytest.fixture
def built(home: Path) -> Warehouse:
    return Warehouse(Settings(home=home))


def one(rows: pd.DataFrame, **wanted) -> pd.Series:
    for name, value in wanted.items():
        rows = rows[rows[name].isna() if value is None else rows[name] == value]
    (index,) = rows.index
    return rows.loc[index]


def test_severities_are_those_that_were_put_in(built):
    rows = built.read(SEVERITIES)
    for kind, planted in (("peer", PEER), ("automatic", MACHINE)):
        row = one(rows, source="uni", graded_by=kind, grader_key=None, half_year_on=None)
        assert row["compared_with"] == "staff"
        assert abs(row["severity_points"] - planted) < 2.5 * row["std_error_points"], kind
        assert row["severity_points_low"] < row["severity_points"] < row["severity_points_high"]
        # Two graders tell little of staff as a whole.
        assert row["std_error_points"] < (4 if kind == "peer" else 2)
    halves = rows[(rows["source"] == "uni") & (rows["graded_by"] == "peer") & rows["half_year_on"].notna()]
    assert list(halves["half_year_on"].astype(str).str[:10]) == ["2024-01-01", "2024-07-01"]
    harsh, mild = (one(rows, grader_key=f"uni:{name}")["severity_points"] for name in ("harsh", "mild"))
    assert harsh - mild == pytest.approx(HARSH, abs=2.5)


def test_where_no_item_has_two_kinds_everything_is_withheld(built):
    rows = built.read(SEVERITIES, where="source = 'alone'")
    row = one(rows, graded_by="peer", half_year_on=None)
    # Without staff, peers are compared with the kind of most marks, which here is the first of as many.
    reference = row["compared_with"]
    other = one(rows, graded_by="peer" if reference == "automatic" else "automatic", half_year_on=None)
    assert not other["is_shown"]
    assert other["withheld_reason"].startswith("No item has grades by both")
    assert np.isnan(other["severity_points"])
    assert built.read(ADJUSTED, where="source = 'alone'").empty


def test_agreement_is_told_of_kinds_with_common_hand_ins(built):
    rows = built.read(AGREEMENT, where="source = 'uni'")
    row = one(rows, graded_by="peer", other_graded_by="staff")
    assert row["submission_count"] == row["learner_count"] == 250
    assert row["difference_points"] == pytest.approx(-PEER, abs=2)
    assert 0.5 < row["weighted_kappa"] < row["correlation"] + 0.05
    hidden = one(rows, graded_by="automatic", other_graded_by="peer")
    assert not hidden["is_shown"]
    assert hidden[["submission_count", "difference_points"]].isna().all()


def test_adjusted_grades_take_the_severity_out(built):
    rows = built.read(ADJUSTED)
    # Nobody marked a quiz again, and yet automatic severity is known, from the essays.
    assert set(rows["submission_key"].str.split(":").str[4]) == {"peer essay", "staff essay", "quiz"}
    once = rows[(rows["mark_count"] == 1) & rows["submission_key"].str.contains("peer essay")]
    assert (once["given_points"] - once["adjusted_points"]).mean() == pytest.approx(-PEER, abs=1.5)
    for key, enrollment, learner in rows[["submission_key", "course_enrollment_key", "learner_key"]].to_numpy():
        assert key.startswith(enrollment)
        assert enrollment.startswith(learner)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (checks.grader_severities_are_withheld_without_a_link, f"update {SEVERITIES} set linked_mark_count = 3"),
        (
            checks.grader_severities_are_withheld_without_a_link,
            f"update {SEVERITIES} set severity_points = 1 where not is_shown",
        ),
        (
            checks.adjusted_grades_follow_shown_severities,
            f"update {SEVERITIES} set is_shown = false where graded_by <> 'staff'",
        ),
    ],
)
def test_checks_fail_where_their_claim_is_false(home, tmp_path, monkeypatch, check, change):
    settings = Settings(home=tmp_path)
    shutil.copy(Settings(home=home).build_database, settings.build_database)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(change)
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path))
    assert not check(WarehouseResource()).passed


def test_every_table_is_written(built):
    assert all(built.row_counts(TABLES).values())
