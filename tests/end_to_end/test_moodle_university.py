"""The generated university in Moodle's tables: figures of the warehouse equal those counted in its files by hand."""

import csv
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.landing import all_files, of_table
from dagster_project.ingest.loader import load_table
from dagster_project.settings import REPOSITORY, Settings
from tests.models.made_source import MadeWarehouse

DATA = Path(os.environ.get("MOODLE_DATA") or REPOSITORY.parent / "shared/data/moodle")
BUILT = ["fct_submission_mark", "fct_program_enrollment", "fct_daily_activity", "fct_response", "mart_learner_course"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA.exists(), reason=f"Moodle's tables are not at {DATA}; set MOODLE_DATA to where they are"
    ),
]


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict[str, str]]]:
    """The files as they are, row by row."""
    tables = {}
    for path in DATA.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            tables[path.stem] = list(csv.DictReader(file))
    return tables


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory, files):
    """The university with its five schools as programs."""
    folder = tmp_path_factory.mktemp("university")
    shutil.copytree(DATA, folder / "landing", copy_function=shutil.copyfile)
    (folder / "landing").chmod(0o755)
    with (folder / "landing/program_categories.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["category_id", "program_id", "program_name"])
        writer.writerows((row["idnumber"], row["name"], row["name"]) for row in files["cohort"])
    made = MadeWarehouse(folder / "warehouse")
    contract = read_contracts(REPOSITORY / "dbt" / "models")["moodle"]
    made.loads = {}
    for table in contract.tables:
        if any(of_table(table, all_files(folder / "landing"))):
            settings = Settings(home=made.home, environment="demo", pseudonym_key=None)
            made.loads[table.name] = load_table(contract, table.name, "uni", folder / "landing", settings)
    made.build("run", "--select", *(f"+{table}" for table in BUILT))
    return made


@pytest.fixture(scope="module")
def students(files) -> set[str]:
    (role,) = (row["id"] for row in files["role"] if row["name"] == "Student")
    return {row["userid"] for row in files["role_assignments"] if row["roleid"] == role}


@pytest.fixture(scope="module")
def taken(files, students) -> list[tuple[str, str]]:
    """Student and course of every enrolment."""
    course_of = {row["id"]: row["courseid"] for row in files["enrol"]}
    return [(row["userid"], course_of[row["enrolid"]]) for row in files["user_enrolments"] if row["userid"] in students]


def test_every_row_is_loaded(warehouse, files):
    for table, load in warehouse.loads.items():
        expected = 5 if table == "program_categories" else len(files[table])
        assert (load.accepted, load.refused) == (expected, 0), table
    assert len(warehouse.loads) == 19


def test_learners_and_enrolments_are_those_of_students(warehouse, students, taken):
    assert (len(students), len(taken)) == (600, 3_600)
    assert warehouse.query("select count(*), count(distinct learner_id) from core.dim_learner") == [(600, 600)]
    by_course = "select split_part(course_key, ':', -1), count(*) from core.fct_course_enrollment group by all"
    assert dict(warehouse.query(by_course)) == Counter(course for _, course in taken)


def test_categories_make_programs(warehouse, files, taken):
    school = {row["idnumber"]: row["name"] for row in files["cohort"]}
    category = {row["id"]: school[row["path"].split("/")[0]] for row in files["course_categories"]}
    school_of = {row["id"]: category[row["category"]] for row in files["course"]}
    members = Counter(name for _, name in {(student, school_of[course]) for student, course in taken})
    found = "select split_part(program_key, ':', -1), count(*) from core.fct_program_enrollment group by all"
    assert dict(warehouse.query(found)) == members
    courses = "select program_id, count(*) from staging.stg_moodle__courses group by all"
    assert dict(warehouse.query(courses)) == Counter(school_of.values())


def test_assignments_have_their_hand_ins_late_ones_and_mean_grades(warehouse, files):
    due = {row["id"]: row["duedate"] for row in files["assign"]}
    handed_in = Counter(row["assignment"] for row in files["assign_submission"])
    # All are due at midnight: late is who hands in on that day or later. Days are counted, so the two of the very
    # moment are late too.
    assert {moment[10:] for moment in due.values()} == {"T00:00:00.000Z"}
    late = Counter(x["assignment"] for x in files["assign_submission"] if x["timemodified"] >= due[x["assignment"]])
    grades = defaultdict(list)
    for row in files["assign_grades"]:
        grades[row["assignment"]].append(float(row["grade"]))
    assert (sum(handed_in.values()), sum(late.values()), sum(map(len, grades.values()))) == (3_841, 736, 2_616)
    found = warehouse.query(
        "select split_part(course_item_key, ':assign-', 2), count(*), count(*) filter (where is_late), avg(score) "
        "from core.fct_submission where course_item_key like '%:assign-%' group by all"
    )
    assert {item: (count, late_count) for item, count, late_count, _ in found} == {
        item: (count, late[item]) for item, count in handed_in.items()
    }
    assert {item: mean for item, _, _, mean in found} == pytest.approx({x: fmean(y) for x, y in grades.items()})
    (essay,) = (row["id"] for row in files["assign"] if row["name"] == "Drawing Foundations Essay")
    named = "select avg(score) from core.fct_submission join core.dim_course_item using (course_item_key)"
    ((mean,),) = warehouse.query(f"{named} where item_name = 'Drawing Foundations Essay'")
    assert mean == pytest.approx(fmean(grades[essay]))


def test_quizzes_and_lessons_have_their_attempts_and_mean_scores(warehouse, files):
    scores = defaultdict(list)
    for row in files["quiz_attempts"]:
        scores["quiz-" + row["quiz"]].append(float(row["sumgrades"]))
    for row in files["lesson_grades"]:
        scores["lesson-" + row["lessonid"]].append(float(row["grade"]))
    assert sum(map(len, scores.values())) == 6_862 + 3_676
    found = warehouse.query(
        "select split_part(course_item_key, ':', -1) as item, count(*), avg(score) "
        "from core.fct_submission where course_item_key not like '%:assign-%' group by all"
    )
    assert {item: count for item, count, _ in found} == {item: len(x) for item, x in scores.items()}
    assert {item: mean for item, _, mean in found} == pytest.approx({item: fmean(x) for item, x in scores.items()})


def test_every_grade_has_its_grader(warehouse, files):
    graders = Counter(row["grader"] for row in files["assign_grades"])
    found = warehouse.query("select count(*) from core.fct_submission_mark group by grader_key")
    assert sorted(count for (count,) in found) == sorted(graders.values())


def test_posts_are_days_of_activity(warehouse, files):
    course_of = {row["id"]: row["course"] for row in files["forum_discussions"]}
    posts = files["forum_posts"]
    days = {(row["userid"], course_of[row["discussion"]], row["created"][:10]) for row in posts}
    threads = len({row["discussion"] for row in posts})
    assert (len(posts), threads) == (1_383, 169)
    found = "select sum(forum_thread_count), sum(forum_reply_count), count(*) from core.fct_daily_activity"
    assert warehouse.query(found) == [(threads, len(posts) - threads, len(days))]
    by_course = (
        "select split_part(course_key, ':', -1), sum(forum_thread_count + forum_reply_count) "
        "from marts.mart_learner_course group by all having sum(forum_thread_count + forum_reply_count) > 0"
    )
    assert dict(warehouse.query(by_course)) == Counter(course_of[row["discussion"]] for row in posts)


def test_what_the_files_do_not_tell_is_not_known(warehouse):
    """No gradebook and no completion: nobody has passed, failed or left; no question was exported."""
    unknown = "select count(outcome), count(completed_on), count(unregistered_on), count(final_grade_share)"
    assert warehouse.query(f"{unknown} from core.fct_course_enrollment") == [(0, 0, 0, 0)]
    assert warehouse.query("select count(*) from core.fct_response") == [(0,)]
