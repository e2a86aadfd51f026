"""What to practise and take next as assets: tables by hand, the checks where they fail, and nobody who was erased."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import dagster as dg
import duckdb
import pandas as pd
import pytest

from dagster_project.analyses.skills.practice import NEXT_COURSES, NEXT_QUESTIONS
from dagster_project.analyses.tables import CONTRACTS, write_frames
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.defs.resources import WarehouseResource
from dagster_project.defs.skills import checks
from dagster_project.defs.skills.assets import skill_next_steps
from dagster_project.settings import Settings
from dagster_project.store.erasure import ErasedLearners, remove_learners
from dagster_project.store.warehouse import Warehouse

CHECKS = [
    checks.skill_next_questions_are_new_to_the_learner_and_not_overexposed,
    checks.skill_next_courses_are_not_taken_yet,
]
LAST, YEAR_AGO = date(2025, 6, 30), date(2024, 6, 30)
KEY = b"0123456789abcdef0123456789abcdef"
# Ability 0 in one skill: 5 questions of difficulty 0 to .4, of two courses; the fifth has a newer version.
QUESTIONS = {"q1:1": 0.0, "q2:1": 0.1, "q3:1": 0.2, "q4:1": 0.3, "q5:1": 0.4, "q5:2": 0.4}


def abilities() -> pd.DataFrame:
    """`ann`, `ben` and `cid` answered on the last day; `old` a year before; of `new` too little is known."""
    frame = pd.DataFrame({"learner_key": [f"uni:{name}" for name in ("ann", "ben", "cid", "new", "old")]})
    frame = frame.assign(source="uni", skill_key="uni:S", as_of=LAST, bank_version="b", item_count=9, is_shown=True)
    frame["last_answered_on"] = [LAST] * 4 + [YEAR_AGO]
    frame["ability"], frame["std_error"], frame["percentile"] = [0.0, 0.0, 6.0, None, 0.0], 0.4, [50, 50, 99, None, 50]
    frame.loc[3, "is_shown"] = False
    return frame


def items() -> pd.DataFrame:
    frame = pd.DataFrame({"question_key": [f"uni:{name}" for name in QUESTIONS], "slope": 1.0, "slope_se": 0.1})
    frame["intercept_1"] = [-x for x in QUESTIONS.values()]
    frame["course_key"] = ["uni:open"] * 3 + ["uni:degree"] * 3
    return frame.assign(source="uni", skill_key="uni:S", status="calibrated", response_count=200, is_misfit=False)


def gains() -> pd.DataFrame:
    frame = pd.DataFrame({"course_key": ["uni:open", "uni:degree"], "shrunken_gain": [0.2, 0.3]})
    return frame.assign(source="uni", skill_key="uni:S", as_of=LAST, bank_version="b", gain_low=0.1, gain_high=0.5)


OTHERS = """
create schema marts; create schema core; create schema features;
create table core.dim_course as
from (values ('uni:open', null), ('uni:degree', 'uni:P')) as t (course_key, program_key);
create table core.dim_question as
select 'uni' as source, 'uni:' || q || ':' || v as question_key, q as question_id, v as question_version
from (values ('q1', 1), ('q2', 1), ('q3', 1), ('q4', 1), ('q5', 1), ('q5', 2)) as t (q, v);
create table marts.mart_skill_response as
select 'uni' as source, 'uni:S' as skill_key, 'uni:' || l as learner_key, q as question_id, 1 as category
from (values ('ann', 'q1'), ('ann', 'q5'), ('ben', 'q2'), ('old', 'q1')) as t (l, q);
create table core.fct_course_enrollment (
    learner_key varchar, course_key varchar, outcome varchar, registered_on date, unregistered_on date
);
insert into core.fct_course_enrollment values
    ('uni:ben', 'uni:open', null, '2025-06-01', null),
    ('uni:ann', 'uni:open', null, '2024-01-01', null),
    ('uni:ann', 'uni:degree', null, '2025-06-01', '2025-06-09');
create table features.feature_completed_skill_courses as
select 'uni:S' as skill_key, 'uni:cid' as learner_key, 'uni:open' as course_key;
create table features.feature_admitted_skill_courses as
select 'uni:S' as skill_key, 'uni:ann' as learner_key, 'uni:degree' as course_key;
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path_factory.mktemp("practice")))
        settings = Settings()
        settings.build_database.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(settings.build_database)) as connection:
            connection.execute(OTHERS)
        store = Warehouse(settings)
        for table, frame in (
            ("skill_abilities", abilities()),
            ("skill_items", items()),
            ("skill_course_gains", gains()),
        ):
            required = [x.name for x in CONTRACTS[f"analytics.{table}"].columns if x.required and x.name not in frame]
            write_frames(store, f"analytics.{table}", [frame.assign(**dict.fromkeys(required, 0))])
        result = dg.materialize([skill_next_steps, *CHECKS], resources={"warehouse": WarehouseResource()})
        assert result.success
        evaluations = result.get_asset_check_evaluations()
        assert len(evaluations) == 2
        assert all(evaluation.passed and evaluation.blocking for evaluation in evaluations)
        yield settings


def test_who_answered_within_a_year_gets_the_newest_versions_of_questions_that_are_new_to_them(built):
    """Of `q5` version 1 is no longer asked, and `ann`, who answered some version of it, is not asked version 2."""
    rows = Warehouse(built).read(NEXT_QUESTIONS).sort_values(["learner_key", "rank"])
    asked = rows.groupby("learner_key")["question_key"].agg(list).to_dict()
    assert asked == {
        "uni:ann": ["uni:q2:1", "uni:q3:1", "uni:q4:1"],
        "uni:ben": ["uni:q1:1", "uni:q3:1", "uni:q4:1", "uni:q5:2"],
        "uni:cid": ["uni:q5:2", "uni:q4:1", "uni:q3:1", "uni:q2:1", "uni:q1:1"],
    }
    assert set(rows["as_of"].astype(str)) == {"2025-06-30"}
    assert rows.set_index("question_key").loc["uni:q3:1", "exposure_share"].tolist() == [1.0, 1.0, 1.0]


def test_nobody_is_sent_to_a_course_that_they_take_or_may_not_take(built):
    """`ann` left the degree's course and began the open one more than a year ago: both are there for them. `ben` takes
    the open one, and no program admitted them. `cid` has completed it.
    """
    rows = Warehouse(built).read(NEXT_COURSES).sort_values(["learner_key", "rank"])
    assert rows[["learner_key", "rank", "course_key"]].astype(object).where(rows.notna(), None).values.tolist() == [
        ["uni:ann", 1, "uni:degree"],
        ["uni:ann", 2, "uni:open"],
        ["uni:ben", 1, None],
        ["uni:cid", 1, None],
    ]
    assert rows["expected_ability"].tolist()[:2] == [0.3, 0.2]
    assert set(rows["reason"].dropna()) == {
        "every course with a known gain that they may take is completed or under way"
    }


def test_where_nobody_has_an_ability_the_tables_are_empty(built, settings):
    settings.build_database.parent.mkdir(parents=True, exist_ok=True)
    settings.build_database.write_bytes(built.build_database.read_bytes())
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("delete from analytics.skill_abilities")
    assert dg.materialize([skill_next_steps, *CHECKS], resources={"warehouse": WarehouseResource()}).success
    assert Warehouse(settings).row_counts([NEXT_QUESTIONS, NEXT_COURSES]) == {NEXT_QUESTIONS: 0, NEXT_COURSES: 0}


def test_a_skill_without_questions_to_ask_or_courses_with_a_gain_still_has_reasons(built, settings):
    settings.build_database.parent.mkdir(parents=True, exist_ok=True)
    settings.build_database.write_bytes(built.build_database.read_bytes())
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("update analytics.skill_items set is_misfit = true")
        connection.execute("delete from analytics.skill_course_gains")
    assert dg.materialize([skill_next_steps, *CHECKS], resources={"warehouse": WarehouseResource()}).success
    assert Warehouse(settings).row_count(NEXT_QUESTIONS) == 0
    assert Warehouse(settings).read(NEXT_COURSES)["reason"].tolist() == ["no course with a known gain"] * 3


def test_nothing_is_left_of_a_learner_who_was_erased(built, settings):
    settings.build_database.parent.mkdir(parents=True, exist_ok=True)
    settings.build_database.write_bytes(built.build_database.read_bytes())
    removed = remove_learners(settings, ErasedLearners({keyed_hash("uni:ann", KEY)}, KEY))
    assert removed[NEXT_QUESTIONS] == 3
    assert removed[NEXT_COURSES] == 2
    for table in (NEXT_QUESTIONS, NEXT_COURSES):
        assert set(Warehouse(settings).read(table)["learner_key"]) == {"uni:ben", "uni:cid"}


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        (f"delete from {NEXT_QUESTIONS} where learner_key = 'uni:ben' and rank = 2", CHECKS[0], "without holes"),
        (f"update {NEXT_QUESTIONS} set rank = 1 where rank = 2", CHECKS[0], "3 learners and skills"),
        (
            "insert into marts.mart_skill_response values ('uni', 'uni:S', 'uni:cid', 'q5', 0)",
            CHECKS[0],
            "1 rows: the learner has answered",
        ),
        (
            f"insert into {NEXT_QUESTIONS} by name "
            "select * exclude (n) replace ('uni:l' || n as learner_key, 1 as rank) from "
            f"(from {NEXT_QUESTIONS} where question_key = 'uni:q1:1' limit 1), range(9) as t (n)",
            CHECKS[0],
            "uni:q1:1: for 11 learners of 3, not at most 10",
        ),
        (f"update {NEXT_COURSES} set rank = 3 where rank = 2", CHECKS[1], "1 learners and skills"),
        (
            "insert into features.feature_completed_skill_courses values ('uni:S', 'uni:ann', 'uni:degree')",
            CHECKS[1],
            "1 rows: the learner has completed",
        ),
        (
            "insert into core.fct_course_enrollment values ('uni:ann', 'uni:open', null, '2025-06-20', null)",
            CHECKS[1],
            "1 rows: the learner has completed",
        ),
        (f"update {NEXT_COURSES} set reason = null", CHECKS[1], "2 rows: a course and a reason"),
    ],
)
def test_each_check_fails_where_its_claim_is_false(built, check_after, statement, check, words):
    result = check_after(built, statement, check)
    assert not result.passed
    assert any(words in error for error in result.metadata["found"].data), result.metadata["found"].data
