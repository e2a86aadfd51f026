"""A consumer's file holds the consumer's rows and nobody else's: every kind of consumer × every published table."""

import json
from argparse import Namespace
from datetime import date

import duckdb
import pytest

from dagster_project.base.errors import PublishError, StoreError
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.commands.publish_for import perform
from dagster_project.ingest.requests import Erasure, Erasures
from dagster_project.privacy.consumers import KINDS, find_rule
from dagster_project.privacy.erasure import stages as erasure
from dagster_project.privacy.publish_for import PAGE, publish_consumer
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.publish import DATABASE, PUBLIC_SCHEMAS, make_snapshot_id, publish

KEY = "a key of tests, long enough for one: 0123456789"
# course → program, program → university, learner → programs, (learner, organization) → times.
COURSES = {"crs1": "prg1", "crs2": "prg2", "crs3": "prg3", "crs4": "prg3", "crs0": None}
TAKEN = {"prg1": "crs4"}
PROGRAMS = {"prg1": "univ1", "prg2": "univ1", "prg3": "univ2"}
ENROLLED = {"ann": ("prg1",), "ben": ("prg1", "prg3"), "cem": ("prg3",), "dora": ("prg2",), "guest": ()}
FIRST, LATER = date(2020, 3, 1), date(2020, 9, 1)
MEMBERS = {
    ("ann", "org1"): (date(2019, 1, 1), None),
    ("ben", "org1"): (date(2019, 1, 1), date(2020, 6, 30)),
    ("ben", "org2"): (date(2020, 7, 1), None),
    ("cem", "org2"): (date(2019, 1, 1), None),
}
# Of each consumer: their learners, those who were theirs, and what of others' may stand nowhere.
CONSUMERS = {
    ("program", "prg1"): ({"ann", "ben"}, {"prg2", "prg3", "univ2", "crs2", "crs3", "org1", "org2"}),
    ("program", "prg2"): ({"dora"}, {"prg1", "prg3", "univ2", "crs1", "crs3", "crs4", "org1", "org2"}),
    ("university", "univ1"): ({"ann", "ben", "dora"}, {"prg3", "univ2", "crs3", "org1", "org2"}),
    ("university", "univ2"): ({"ben", "cem"}, {"prg1", "prg2", "univ1", "crs1", "crs2", "org1", "org2"}),
    ("organization", "org1"): ({"ann", "ben"}, {"org2", "univ1", "univ2", "prg1", "prg2", "prg3"}),
}


def published_tables() -> dict[str, dict[str, str]]:
    """Columns with types of every table that is published, as dbt and the contracts of Python describe them."""
    manifest = json.loads((REPOSITORY / "dbt/target/manifest.json").read_text())
    tables = {}
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        is_python = node["resource_type"] == "source" and node["schema"] in ("analytics", "ops")
        is_table = node["resource_type"] in ("model", "seed") and node["schema"] in PUBLIC_SCHEMAS
        if (is_python or is_table) and node.get("config", {}).get("meta", {}).get("published", True):
            columns = {
                name: x["data_type"] or ("date" if name.endswith("_on") else "varchar")
                for name, x in node["columns"].items()
            }
            tables[f"{node['schema']}.{node['name']}"] = columns
    return tables


TABLES = published_tables()


def rows_of(table: str, source: str) -> list[dict]:
    """What may stand in a row of a table: everybody in every course of every organization, but for the facts."""
    rows = []
    for learner, programs in ENROLLED.items():
        for course, program in COURSES.items():
            for organization in ("org1", "org2"):
                from_on, to_on = MEMBERS.get((learner, organization), (None, None))
                is_member = from_on is not None
                if table in ("core.fct_program_enrollment", "marts.mart_learner_program") and program not in programs:
                    continue
                is_taken = course in {TAKEN.get(x) for x in programs}
                if table == "core.fct_course_enrollment" and (program and program not in programs and not is_taken):
                    continue
                if table == "core.fct_organization_membership" and not is_member:
                    continue
                if table == "marts.mart_organization_member" and not (is_member and to_on is None):
                    continue
                for day in (FIRST, LATER):
                    person, place = f"{source}:{learner}", f"{source}:{course}"
                    degree = program and f"{source}:{program}"
                    rows.append(
                        {
                            "source": source,
                            "driver_id": "grading",
                            "learner_key": person,
                            "learner_id": learner,
                            "course_key": place,
                            "course_id": course,
                            "course_offering_key": f"{place}:t1",
                            "course_version_key": f"{place}:v1",
                            "program_key": degree,
                            "program_id": program,
                            "program_name": program,
                            "university_name": program and PROGRAMS[program],
                            "term_key": degree and f"{degree}:t1",
                            "first_term_key": degree and f"{degree}:t1",
                            "open_course_key": f"{source}:crs0",
                            "course_enrollment_key": f"{person}:{course}:t1",
                            "earlier_course_enrollment_key": f"{person}:{course}:t1",
                            "program_enrollment_key": degree and f"{person}:{program}",
                            "enrollment_key": f"{person}:{course}:t1",
                            "submission_key": f"{person}:{course}:t1:q:1",
                            "organization_membership_key": f"{person}:{organization}",
                            "organization_key": f"{source}:{organization}",
                            "organization_id": organization,
                            "organization_name": organization,
                            "skill_key": f"{source}:welding",
                            "skill_name": "welding",
                            "comparison": "all",
                            "from_on": from_on,
                            "to_on": to_on,
                            "n": 50 if day == FIRST else 3,
                            "registered_on": day,
                            "issued_on": day,
                        }
                    )
    if table == "core.dim_program":
        rows = [row for row in rows if row["program_id"]]
    if table in ("core.dim_program_course", "core.dim_program_offering", "marts.mart_retention_learner_course"):
        rows += [
            row
            | {"program_key": f"{source}:{program}", "program_id": program, "term_key": f"{source}:{program}:t1"}
            | {"program_enrollment_key": f"{row['learner_key']}:{program}", "first_term_key": f"{source}:{program}:t1"}
            for program, course in TAKEN.items()
            for row in rows
            if row["course_id"] == course and program in ENROLLED[row["learner_id"]]
        ]
    return rows


def fill(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], sources: tuple[str, ...]) -> None:
    connection.execute(f"create schema if not exists {table.split('.')[0]}")
    connection.execute(f"create table {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
    rows = {tuple(row.get(name) for name in columns): None for source in sources for row in rows_of(table, source)}
    if rows and columns:
        marks = f"({', '.join('?' * len(columns))})"
        values = [value for row in rows for value in row]
        connection.execute(f"insert into {table} values {', '.join([marks] * len(rows))}", values)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two sources with the same ids, published; in the second one there is the same again."""
    settings = Settings(home=tmp_path_factory.mktemp("consumers"), memory_limit="500MB", threads=2, pseudonym_key=KEY)
    with duckdb.connect(settings.build_database) as connection:
        for table, columns in TABLES.items():
            fill(connection, table, columns, ("uni", "other"))
        # What came after the rules were written.
        connection.execute("create table marts.mart_news as select 'uni' as source, 'secret' as headline")
        connection.execute("update core.dim_program set program_name = 'namesake' where program_id in ('prg2', 'prg3')")
    publish(settings, make_snapshot_id(), sources_info=[], versions={"dbt-core": "1"})
    return settings


@pytest.fixture(scope="module")
def files(published):
    return {
        consumer: publish_consumer(published, [], consumer[0], f"uni:{consumer[1]}", run_id="test")
        for consumer in CONSUMERS
    }


def contents(publication) -> dict[str, tuple[list[str], list[tuple]]]:
    with duckdb.connect(publication.folder / DATABASE, read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() where schema_name <> '_meta'"
        ).fetchall()
        found = {}
        for (table,) in tables:
            result = connection.execute(f"from {table}")
            found[table] = [column for column, *_ in result.description], result.fetchall()
        return found


def pseudonym(consumer: tuple[str, str], learner: str) -> str:
    kind, name = consumer
    return keyed_hash(f"uni:{learner}", keyed_hash(f"published for {kind} uni:{name}", KEY.encode()).encode())


@pytest.mark.parametrize("consumer", CONSUMERS, ids=":".join)
def test_a_file_holds_rows_of_its_consumer_alone(files, consumer):
    people, of_others = CONSUMERS[consumer]
    known = {pseudonym(consumer, learner): learner for learner in ENROLLED}
    for table, (columns, rows) in contents(files[consumer]).items():
        # The catalogue names the courses that an organization is advised to take, whoever gives them.
        is_advice = consumer[0] == "organization" and (table.startswith("core.dim_") or table == "analytics.skill_gaps")
        forbidden = of_others | set(ENROLLED) | {"other", "secret"}
        for row in rows:
            words = {word for value in row if isinstance(value, str) for word in value.split(":")}
            assert not words & forbidden, (table, row)
            assert is_advice or consumer[0] != "organization" or not words & {"crs1", "crs2", "crs3", "crs4"}, (
                table,
                row,
            )
            assert {known[word] for word in words & set(known)} <= people, (table, row)
            if "learner_key" in columns:
                assert row[columns.index("learner_key")].split(":")[1] in known, (table, row)


@pytest.mark.parametrize("consumer", [("program", "prg1"), ("university", "univ1")], ids=":".join)
def test_a_program_has_its_learners_in_a_course_that_it_takes_from_another(files, consumer):
    """`prg1` of `univ1` takes `crs4`, which is `prg3`'s, of `univ2`: what it is made of and what `ann` and `ben` did in
    it, and nothing of those who take it in `prg3` alone; nor figures over all of them.
    """
    tables = contents(files[consumer])

    def rows_of_it(table: str) -> list[dict]:
        columns, rows = tables[table]
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        return [
            row
            for row in named
            if "crs4" in {word for x in row.values() if isinstance(x, str) for word in x.split(":")}
        ]

    found = {table for table in tables if rows_of_it(table)}
    assert {
        "core.dim_course", "core.dim_course_offering", "core.dim_program_course", "core.dim_program_offering",
        "core.dim_course_item", "core.fct_course_enrollment", "core.fct_submission", "core.fct_daily_activity",
        "marts.mart_learner_course", "marts.mart_learner_course_week", "marts.mart_retention_learner_course",
        "marts.mart_course_version", "reporting.course_designs", "learners.call_list",
    } <= found  # fmt: skip
    assert found.isdisjoint({
        "marts.mart_course", "marts.mart_course_term", "marts.mart_course_week", "reporting.course_outcomes",
        "reporting.weekly_engagement", "analytics.skill_items", "analytics.skill_course_gains",
    })  # fmt: skip
    people = {f"uni:{pseudonym(consumer, learner)}" for learner in ("ann", "ben")}
    assert {row["learner_key"] for row in rows_of_it("core.fct_course_enrollment")} == people
    # Whose the course is, is another's; which of its own programs takes it stands in dim_program_course.
    (course,) = rows_of_it("core.dim_course")
    assert course["program_key"] is None
    assert {row["program_key"] for row in rows_of_it("core.dim_program_course")} == {"uni:prg1"}
    for table in found:
        assert {row.get("term_key") for row in rows_of_it(table)} <= {None, "uni:prg1:t1"}


def test_an_organization_has_a_page_made_of_its_own_rows_alone(published, files, capsys):
    for kind, key in (("organization", "uni:org1"), ("program", "uni:prg1")):
        given = dict.fromkeys(KINDS) | {kind: key}
        assert perform(published, Namespace(**given)) == 0
    assert not (files["program", "prg1"].folder / PAGE).exists()
    file = files["organization", "org1"].folder / PAGE
    assert f"Its page: {file}" in capsys.readouterr().out
    page = file.read_text()
    assert "Skills of org1" in page
    assert f"snapshot <b>{file.resolve().parent.name}</b>" in page
    assert not any(other in page for other in ("org2", "ann", "ben", "prg1", "univ1"))


def test_every_published_table_has_a_rule_for_every_kind_of_consumer():
    without = [
        (kind, table)
        for table, columns in TABLES.items()
        for kind in ("program", "organization")
        if find_rule(kind, table, list(columns), 10) is None
    ]
    assert not without, "add them to DECIDED in store/consumers.py, or give them the keys that tell whose a row is"


def test_every_table_that_somebody_may_have_has_rows_for_somebody(files):
    filled = {table for publication in files.values() for table, (_, rows) in contents(publication).items() if rows}
    allowed = {
        table
        for table, columns in TABLES.items()
        for kind in ("program", "organization")
        if (rule := find_rule(kind, table, list(columns), 10)) and rule.condition
    }
    assert allowed == filled


def test_a_table_without_a_rule_is_left_out_and_said(files):
    for publication in files.values():
        assert publication.without_rule == ["marts.mart_news"]
        assert "marts.mart_news: no rule says" in str(publication)


def test_an_organization_sees_courses_of_the_time_of_the_membership(files):
    consumer = ("organization", "org1")
    tables = contents(files[consumer])
    known = {f"uni:{pseudonym(consumer, learner)}": learner for learner in ENROLLED}

    def seen(table: str, *names: str) -> set[tuple]:
        columns, rows = tables[table]
        return {(known[row[columns.index("learner_key")]], *(row[columns.index(x)] for x in names)) for row in rows}

    for table, day in (("core.fct_course_enrollment", "registered_on"), ("core.fct_credential", "issued_on")):
        assert seen(table, "course_key", day) == {
            ("ann", "uni:crs0", FIRST),
            ("ann", "uni:crs0", LATER),
            ("ben", "uni:crs0", FIRST),
        }
    assert seen("analytics.skill_abilities") == seen("learners.top_learners") == {("ann",)}


def test_files_of_two_consumers_cannot_be_joined_by_learners_but_tables_of_one_can(files):
    keys = {}
    for consumer, publication in files.items():
        tables = contents(publication)
        keys[consumer] = {
            row[columns.index("learner_key")]
            for columns, rows in tables.values()
            if "learner_key" in columns
            for row in rows
        }
        columns, rows = tables.get("core.fct_submission", ([], []))
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            assert values["course_enrollment_key"].startswith(f"{values['learner_key']}:crs")
            assert values["submission_key"].startswith(values["course_enrollment_key"])
    for a in keys:
        assert all(not keys[a] & keys[b] for b in keys if b != a)


def test_names_that_two_programs_bear_tell_nobody_the_figures_of_the_other(files):
    columns, rows = contents(files["university", "univ1"])["reporting.driver_effects"]
    assert "namesake" not in {row[columns.index("program_name")] for row in rows}


def test_meta_tells_whose_file_it_is_and_of_small_groups_nothing_stands_in_it(published, files):
    publication = files["program", "prg1"]
    with duckdb.connect(publication.folder / DATABASE, read_only=True) as connection:
        ((kind, key, origin),) = connection.execute(
            "select consumer_kind, consumer_key, from_snapshot_id from _meta.publication"
        ).fetchall()
        assert connection.execute("select min(n) from analytics.at_risk_subgroups").fetchall() == [(50,)]
    assert (kind, key, origin) == ("program", "uni:prg1", (published.published_dir / "current").readlink().name)
    assert (publication.folder / "parquet/core/dim_learner.parquet").exists()


def test_an_unknown_or_ambiguous_id_is_an_error_that_names_what_there_is(published):
    with pytest.raises(StoreError, match=r"no program 'prg9'\. Near it: .*prg1"):
        publish_consumer(published, [], "program", "prg9", run_id="test")
    with pytest.raises(StoreError, match=r"Known: org1, org2"):
        publish_consumer(published, [], "organization", "zzzzzzzz", run_id="test")
    with pytest.raises(
        StoreError, match="2 sources have a program 'prg1': say which, by its key: other:prg1, uni:prg1"
    ):
        publish_consumer(published, [], "program", "prg1", run_id="test")


def test_an_erasure_removes_the_files_and_no_file_is_made_before_it_is_carried_out(published, files):
    erasures = Erasures(published)
    request = Erasure("r1", "uni", "0" * 32, "2026-01-01T00:00:00", "unbuilt", {"raw.learners": 1})
    erasures.save(request)
    with pytest.raises(PublishError, match="asked for erasure are in the published snapshot still"):
        publish_consumer(published, [], "organization", "uni:org1", run_id="test")
    (receipt,) = erasure.finish(published, (published.published_dir / "current").readlink().name)
    removed = json.loads(receipt.read_text())["files_of_consumers_removed"]
    assert removed == sorted(f"uni/{kind}-{name}" for kind, name in CONSUMERS)
    assert not list(published.published_for_dir.rglob("*.duckdb"))
    again = publish_consumer(published, [], "organization", "uni:org1", run_id="test")
    assert again.tables == files["organization", "org1"].tables
