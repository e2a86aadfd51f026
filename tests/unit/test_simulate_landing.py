"""The landing files lead to the analysis tables: every driver and control is recomputed here from the files alone."""

import hashlib
import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dagster_project import simulate
from dagster_project.simulate import drivers, employers

STUDENTS = 300
SEED = 5


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campus") / "landing"
    simulate.write(folder, folder.with_name("truth.json"), SEED, STUDENTS)
    return folder


@pytest.fixture(scope="module")
def truth(landing: Path) -> dict:
    return json.loads(landing.with_name("truth.json").read_text())


@pytest.fixture(scope="module")
def tables() -> simulate.AnalysisTables:
    return simulate.tables(SEED, STUDENTS)


@pytest.fixture(scope="module")
def files(landing: Path) -> duckdb.DuckDBPyConnection:
    return opened(landing)


def opened(landing: Path) -> duckdb.DuckDBPyConnection:
    """The files as views, with the dirt removed as the contract says."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    for path in landing.glob("*.csv"):
        connection.execute(
            f"create table {path.stem} as select * from read_csv('{path}', ignore_errors = true, sample_size = -1, "
            "all_varchar = true, nullstr = '')"
        )
    connection.execute(f"""
        create table submissions as
        select distinct * from read_csv('{landing}/submissions/*.csv', all_varchar = true, ignore_errors = true)
        where try_cast(submitted_at as timestamp) is not null
            and (score is null or try_cast(score as double) is not null)
    """)
    connection.execute(f"create table responses as from read_csv('{landing}/responses/*.csv', all_varchar = true)")
    connection.execute("""
        create view program_terms as
        select p.program_id, t.* exclude (program_id) from terms as t join programs as p on t.program_id = p.program_id
        union all
        select p.program_id, t.* exclude (program_id) from terms as t cross join programs as p
        where t.program_id is null and not exists (
            select 1 from terms as own where own.program_id = p.program_id and own.term_id = t.term_id
        )
    """)
    connection.execute("""
        create view firsts as
        select p.*, t.starts_on::date as start, t.season, t.drop_deadline_on, t.ends_on, t.is_required
        from program_enrollments as p
        join program_terms as t on t.program_id = p.program_id and t.term_id = p.first_term_id
        qualify row_number() over (partition by p.learner_id order by p.admitted_on) = 1
    """)
    connection.execute(f"create view raw_events as select * from read_parquet('{landing}/events/*.parquet')")
    connection.execute("""
        create table events as
        select distinct raw_events.*
        from raw_events
        semi join course_enrollments using (learner_id, course_id, term_id)
        where occurred_at >= timestamp '2015-01-01'
    """)
    return connection


def by_learner_and_course(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[tuple, tuple]:
    return {row[:2]: row[2:] for row in connection.execute(sql).fetchall()}


def compare(expected: dict, found: dict, names: list[str]) -> None:
    assert expected.keys() <= found.keys(), f"missing: {list(expected.keys() - found.keys())[:3]}"
    for k, name in enumerate(names):
        pairs = [(expected[key][k], found[key][k]) for key in expected]
        a, b = (np.array([np.nan if x is None else float(x) for x in column]) for column in zip(*pairs, strict=True))
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9, err_msg=name)


def column_of(table, keys: list[str], names: list[str]) -> dict:
    data = table.select([*keys, *names]).to_pylist()
    return {tuple(row[k] for k in keys): tuple(row[n] for n in names) for row in data}


BEHAVIOUR = """
    with gaps as (
        select e.learner_id, e.course_id, e.event_type,
            cast(e.occurred_at as date) - p.start as day,
            epoch_us(e.occurred_at) - lag(epoch_us(e.occurred_at)) over (
                partition by e.learner_id, e.course_id, e.term_id, cast(e.occurred_at as date)
                order by e.occurred_at
            ) as gap
        from events as e join firsts as p using (learner_id)
        where e.term_id = p.first_term_id
    ),
    items as (
        select course_id, max(cast(week as int)) as weeks, min(cast(due_day as int)) as due
        from course_items where version_id = 'v1' group by course_id
    )
    select learner_id, course_id,
        count(distinct day) filter (event_type = 'item_completed'),
        coalesce(sum(gap) filter (gap <= 1800e6), 0) / 3600e6,
        count(distinct day) filter (event_type = 'item_completed' and day < 7 * weeks // 2),
        coalesce(sum(gap) filter (gap <= 1800e6 and day < 7 * weeks // 2), 0) / 3600e6,
        if(any_value(due) is null, null, count(distinct day) filter (event_type = 'item_completed' and day <= due)),
        if(any_value(due) is null, null, coalesce(sum(gap) filter (gap <= 1800e6 and day <= due), 0) / 3600e6),
        count(distinct day) filter (event_type in ('forum_view', 'forum_thread', 'forum_reply'))
    from gaps join items using (course_id) group by learner_id, course_id
"""
BEHAVIOUR_COLUMNS = [
    "days_active",
    "learning_hours",
    "midpoint_days_active",
    "midpoint_learning_hours",
    "first_deadline_days_active",
    "first_deadline_learning_hours",
    "forum_days",
]
HAND_INS = """
    with items as (select * from course_items where version_id = 'v1' and due_day is not null),
    weeks as (select course_id, max(cast(week as int)) as weeks from course_items group by course_id),
    first_term as (
        select distinct e.learner_id, e.course_id, p.start
        from course_enrollments as e join firsts as p using (learner_id) where e.term_id = p.first_term_id
    ),
    hand_ins as (
        select f.learner_id, f.course_id, i.item_id, cast(i.weight as double) as weight,
            cast(i.due_day as int) as due,
            weeks, 
            coalesce(bool_or(cast(s.submitted_at as date) - f.start <= cast(i.due_day as int)), false) as on_time
        from first_term as f join items as i using (course_id) join weeks using (course_id)
        left join submissions as s
            on s.learner_id = f.learner_id and s.course_id = f.course_id
            and s.item_id = i.item_id and s.attempt_number = '1'
        group by all
    )
    select learner_id, course_id,
        max(on_time::int) filter (due = 9),
        sum(weight) filter (on_time and due <= 9) / sum(weight) filter (due <= 9),
        coalesce(sum(weight) filter (on_time and due < 7 * weeks // 2), 0)
        / sum(weight) filter (due < 7 * weeks // 2),
        coalesce(sum(weight) filter (on_time), 0) / sum(weight)
    from hand_ins group by learner_id, course_id
"""


def test_days_and_learning_time_follow_from_the_events(
    files: duckdb.DuckDBPyConnection, tables: simulate.AnalysisTables
) -> None:
    expected = column_of(tables.learner_course, ["learner_id", "course_id"], BEHAVIOUR_COLUMNS)
    compare(expected, by_learner_and_course(files, BEHAVIOUR), BEHAVIOUR_COLUMNS)


def test_hand_ins_follow_from_the_submissions(
    files: duckdb.DuckDBPyConnection, tables: simulate.AnalysisTables
) -> None:
    found = by_learner_and_course(files, HAND_INS)
    found = {key: (a, 0.0 if b is None else b, c, d) for key, (a, b, c, d) in found.items()}
    names = ["is_first_on_time", "first_deadline_submitted_share", "midpoint_submitted_share", "end_submitted_share"]
    expected = column_of(tables.learner_course, ["learner_id", "course_id"], names)
    expected = {key: value for key, value in expected.items() if value[0] is not None}
    compare(expected, found, names)


# Of courses that were over by the last day: later ones are cut where their days happen to lie.
ANSWERS = """
    select r.learner_id, r.question_id, r.score
    from responses as r
    join course_enrollments as e on e.learner_id = r.learner_id and e.course_id = r.course_id
    join course_offerings as o on o.course_id = e.course_id and o.term_id = e.term_id and o.ends_on < '2025-10-01'
    order by all
"""


def test_learners_who_do_less_before_they_leave_change_no_driver(
    landing: Path, files: duckdb.DuckDBPyConnection, tables: simulate.AnalysisTables, tmp_path: Path
) -> None:
    """The same university without disengagement: other days, and the same drivers, outcomes and answers."""
    simulate.write(tmp_path / "landing", tmp_path / "truth.json", SEED, STUDENTS, disengagement=False)
    steady = opened(tmp_path / "landing")
    days = "select distinct learner_id, course_id, term_id, occurred_at::date from events order by all"
    assert files.execute(days).fetchall() != steady.execute(days).fetchall()
    rows = column_of(tables.learner_course, ["learner_id", "course_id"], []).keys()
    for query in (BEHAVIOUR, HAND_INS):
        found, expected = (by_learner_and_course(connection, query) for connection in (files, steady))
        assert found.keys() == expected.keys()
        known = rows & found.keys()  # courses without due days have no hand-ins
        assert {key: found[key] for key in known} == {key: pytest.approx(expected[key], abs=1e-12) for key in known}
    # Who takes, drops, passes and comes back: all that is no event, hand-in or answer.
    for path in landing.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "landing" / path.name).read_bytes(), path.name
    answers = files.execute(ANSWERS).fetchall()
    assert answers == steady.execute(ANSWERS).fetchall()
    assert len(answers) > 1000


def test_course_columns_follow_from_the_items(
    files: duckdb.DuckDBPyConnection, tables: simulate.AnalysisTables
) -> None:
    kinds = ("staff_graded", "peer_graded", "quiz", "programming", "discussion", "team", "plugin")
    graded = {k: f"coalesce(sum(weight) filter (is_graded and kind = '{k}'), 0)" for k in kinds}
    ungraded = {
        k: f"count(*) filter (not is_graded and kind = '{k}') / count(*) filter (not is_graded)"
        for k in ("practice", "video", "reading")
    }

    def centroid(value: str, where: str) -> str:
        return f"sum({value} * week) filter ({where}) / sum({value}) filter ({where}) / max(week)"

    columns = {
        **{f"{k}_weight_share": graded[k] for k in ("staff_graded", "peer_graded", "quiz")},
        **{f"has_{k}": f"({v} > 0)::int" for k, v in graded.items()},
        "has_hands_on": "(" + " + ".join(v for k, v in graded.items() if k not in ("quiz", "plugin")) + " > 0)::int",
        **{f"ungraded_{k}_share": v for k, v in ungraded.items()},
        "max_item_weight": "max(weight)",
        "graded_weight_centroid": centroid("weight", "is_graded"),
        "graded_centroid": centroid("1", "is_graded"),
        "video_minutes_centroid": centroid("minutes", "kind = 'video'"),
        "late_penalty_share": "count(*) filter (is_graded and late_penalty is not null) / count(*) filter (is_graded)",
        "assignment_group_share": "count(assignment_group) / count(*) filter (is_graded)",
        "small_weight_share": "count(*) filter (weight < .05) / count(*) filter (is_graded)",
        "large_weight_share": "count(*) filter (weight >= .15) / count(*) filter (is_graded)",
        "item_count": "count(*)",
        "assignment_count": "count(*) filter (is_graded)",
        "week_count": "max(week)",
        "video_minutes": "sum(minutes) filter (kind = 'video')",
        "first_week_video_minutes": "coalesce(sum(minutes) filter (kind = 'video' and week = 1), 0)",
        "graded_per_week": "count(*) filter (is_graded) / max(week)",
    }
    for version in ("v1", "v2"):
        found = files.execute(f"""
            with items as (
                select course_id, version_id, kind, week::int as week, minutes::double as minutes,
                    weight::double as weight,
                    is_graded::boolean as is_graded, late_penalty, assignment_group
                from course_items where version_id = '{version}'
            )
            select course_id, {", ".join(columns.values())} from items group by course_id
        """).fetchall()
        expected = column_of(tables.learner_course, ["course_id"], list(columns))
        seen = {(row[0],): row[1:] for row in found}
        compare({k: v for k, v in expected.items() if k in seen}, seen, list(columns))


def test_learner_and_program_columns_follow_from_the_files(
    files: duckdb.DuckDBPyConnection, tables: simulate.AnalysisTables
) -> None:
    names = [
        "is_retained",
        "has_open_completion",
        "has_stackable_enrollment",
        "has_stackable_completion",
        "has_open_paid_not_completed",
        "has_open_enrolled_not_completed",
        "courses_enrolled_count",
        "courses_dropped_count",
        "has_drop_after_deadline",
        "is_required_term",
        "age_years",
        "is_long_time_learner",
        "terms_since_admitted_count",
        "has_support_ticket",
        "has_target_role",
        "is_sponsored",
    ]
    found = files.execute("""
        with stackable as (
            select s.open_course_id as course_id, c.program_id
            from shared_items as s join courses as c on c.course_id = s.course_id
            join (select course_id as open_course_id, count(*) as items from course_items group by course_id) as n
                using (open_course_id)
            group by s.open_course_id, c.program_id, items having count(distinct s.open_item_id) / items >= 0.3
        ),
        enrollments as (
            select e.*, c.course_type, c.program_id from course_enrollments as e join courses as c using (course_id)
            where try_cast(e.enrolled_at as timestamp) is not null
            qualify row_number() over (partition by learner_id, course_id, term_id order by enrolled_at desc) = 1
        ),
        -- The calendars have no term within 60 days of a year later that is not within their window.
        following as (
            select f.learner_id, f.program_id, t.term_id, t.drop_deadline_on
            from firsts as f join program_terms as t on t.program_id = f.program_id
                and abs(t.starts_on::date - f.start - 365) <= 60
        ),
        retained as (
            select f.learner_id, count(*) > 0 as is_retained from following as f join enrollments as e
                on e.learner_id = f.learner_id and e.program_id = f.program_id and e.term_id = f.term_id
                and (e.dropped_on is null or e.dropped_on > f.drop_deadline_on)
            group by f.learner_id
        ),
        opened as (
            select f.learner_id,
                bool_or(s.course_id is null and e.completed_on::date < f.start) as completed,
                bool_or(s.course_id is null and e.is_paid::boolean) as paid,
                bool_or(s.course_id is null) as enrolled,
                bool_or(s.course_id is not null) as stackable,
                bool_or(s.course_id is not null and e.completed_on::date < f.start) as stackable_completed
            from firsts as f join enrollments as e using (learner_id)
            left join stackable as s on s.course_id = e.course_id and s.program_id = f.program_id
            where e.course_type = 'open' and e.enrolled_at::timestamp < f.start
            group by f.learner_id
        ),
        taken as (
            select f.learner_id, count(*) as enrolled, count(e.dropped_on) as dropped,
                bool_or(coalesce(e.dropped_on > f.drop_deadline_on, false)) as late
            from firsts as f join enrollments as e on e.learner_id = f.learner_id and e.term_id = f.first_term_id
                and e.program_id = f.program_id
            group by f.learner_id
        )
        select f.learner_id, coalesce(r.is_retained, false), coalesce(o.completed, false), coalesce(o.stackable, false),
            coalesce(o.stackable_completed, false), coalesce(o.paid and not coalesce(o.completed, false), false),
            coalesce(o.enrolled and not o.paid and not coalesce(o.completed, false), false),
            t.enrolled, t.dropped, t.late,
            f.is_required::boolean, year(f.start) - l.birth_year::int, l.registered_at::date < f.start - 365,
            (select count(*) from program_terms as x where x.program_id = f.program_id
                and x.starts_on > f.admitted_on and x.starts_on::date < f.start),
            exists (select 1 from support_tickets as s where s.learner_id = f.learner_id
                and s.opened_at::date between f.start and f.ends_on::date),
            exists (select 1 from profiles as s where s.learner_id = f.learner_id and s.target_role is not null),
            exists (select 1 from organization_members as s where s.learner_id = f.learner_id
                and s.from_on::date <= f.start
                and (s.to_on is null or s.to_on::date >= f.start))
        from firsts as f join learners as l using (learner_id) join taken as t using (learner_id)
        left join retained as r using (learner_id) left join opened as o using (learner_id)
    """).fetchall()
    compare(column_of(tables.learner_program, ["learner_id"], names), {(row[0],): row[1:] for row in found}, names)


def test_course_behaviour_leaves_the_row_out(tables: simulate.AnalysisTables) -> None:
    data = tables.learner_course.select(
        [
            "course_id",
            "days_active",
            "learning_hours",
            "is_dropped",
            "week_count",
            "course_median_days_active",
            "course_learning_minutes_per_week",
        ]
    ).to_pylist()
    by_course: dict[str, list[int]] = {}
    for number, row in enumerate(data):
        by_course.setdefault(row["course_id"], []).append(number)
    for number in range(0, len(data), 7):
        row = data[number]
        others = [data[k] for k in by_course[row["course_id"]] if k != number]
        stayed = [o["learning_hours"] * 60 / o["week_count"] for o in others if not o["is_dropped"]]
        days = float(np.median([o["days_active"] for o in others])) if others else None
        assert row["course_median_days_active"] == days
        assert row["course_learning_minutes_per_week"] == (pytest.approx(np.mean(stayed)) if stayed else None)


def test_planted_dirt_is_in_the_files_at_its_counts(files: duckdb.DuckDBPyConnection, truth: dict) -> None:
    planted = truth["dirt"]

    def one(sql: str) -> int:
        return files.execute(sql).fetchone()[0]

    events = planted["events"]
    assert min(events.values()) > 0
    assert one("select count(*) - count(distinct (event_id)) from raw_events") == events["duplicate"]
    assert (
        one(
            "select count(distinct event_id) from raw_events "
            "where received_at - occurred_at between interval 12 hour and interval 11 day"
        )
        == events["late"]
    )
    assert (
        one("select count(distinct event_id) from raw_events where occurred_at > received_at") == events["clock_ahead"]
    )
    assert (
        one("select count(distinct event_id) from raw_events where occurred_at < timestamp '2015-01-01'")
        == events["clock_reset"]
    )
    assert one("select count(*) from raw_events where learner_id is null") == events["malformed"]
    assert (
        one("""
        select count(*) from raw_events anti join course_enrollments using (learner_id, course_id, term_id)
        where learner_id is not null
    """)
        == events["unknown_reference"]
    )
    assert (
        one("""
        select count(*) from (select 1 from course_enrollments where try_cast(enrolled_at as timestamp) is not null
        group by learner_id, course_id, term_id having count(*) = 2)
    """)
        == planted["course_enrollments"]["reenrollment"]
    )
    assert one("select count(*) from submissions where attempt_number = '2'") == planted["submissions"]["resubmission"]


def test_every_calendar_is_in_the_files(files: duckdb.DuckDBPyConnection) -> None:
    def one(sql: str) -> tuple:
        return files.execute(sql).fetchone()

    # 2022-fall: of the institution for four programs, two sessions in three, under one id in all.
    assert one("""
        select count(*) filter (term_id = '2022-fall'), count(*) filter (term_id = '2022-fall-2'),
            count(*) filter (season = 'fall')
        from program_terms where term_id like '2022-%'
    """) == (19, 3, 22)
    assert one("select count(*), count(distinct term_id) from terms where program_id is null") == (11, 11)
    assert one("""
        select count(distinct program_id), bool_and(strftime(starts_on::date, '%m-%d') = '12-30')
        from terms where season = 'winter'
    """) == (2, True)
    assert one("""
        select count(*), count(*) filter (summers = 0), count(*) filter (required = 0 and summers > 0) from (
            select program_id, count(*) filter (season = 'summer') as summers,
                count(*) filter (season = 'summer' and is_required::boolean) as required
            from program_terms group by program_id
        )
    """) == (19, 9, 2)
    # An offering ends with its term at the latest.
    assert one("""
        select count(*) from course_offerings as o join courses as c using (course_id)
        join program_terms as t on t.program_id = c.program_id and t.term_id = o.term_id
        where o.ends_on > t.ends_on or o.starts_on <> t.starts_on
    """) == (0,)


def test_the_truth_tells_of_graduates_as_the_files_do(files: duckdb.DuckDBPyConnection, truth: dict) -> None:
    told = truth["graduation"]
    assert "apart from every driver" in told["about"]
    completed, others = files.execute("""
        select count(completed_on), count(*) - count(distinct learner_id) from program_enrollments
    """).fetchone()
    assert completed == told["within_first_year"] + told["later"]
    assert others == told["then_began_another_program"]
    assert min(told["within_first_year"], told["later"], others) > 0
    # Who completed the program on a day has its degree two weeks later.
    assert files.execute("""
        select count(*) from credentials as c join program_enrollments as p using (learner_id, program_id)
        where c.kind = 'degree' and c.issued_on::date - p.completed_on::date <> 14
    """).fetchone() == (0,)
    assert len(truth["calendars"]) == 19


def test_second_marks_show_the_planted_severity_where_their_choice_is_allowed_for(
    landing: Path, files: duckdb.DuckDBPyConnection, truth: dict
) -> None:
    # Staff mark again 35 % of what peers gave less than 70 points, and 12 % of the rest; weighted by that, the mean
    # difference of the two marks is the severity. Not weighted, regression to the mean hides it.
    pairs = files.execute(f"""
        select marks.graded_by, first.score::double as given, marks.score::double as again, marks.grader_id
        from read_csv('{landing}/submission_marks/*.csv', all_varchar = true, nullstr = '') as marks
        join submissions as first using (learner_id, course_id, term_id, item_id, attempt_number)
        where first.score is not null
    """).df()
    planted = truth["grading"]["kinds"]
    for kind, again_by in (("peer", "staff"), ("automatic", "automatic")):
        rows = pairs[pairs["graded_by"] == again_by]
        poor, rest = (0.35, 0.12) if kind == "peer" else (1, 1)
        weight = 1 / np.where(rows["given"] < 70, poor, rest)
        fewer = (rows["again"] - rows["given"]) * (1 if kind == "peer" else -1)
        mean = np.average(fewer, weights=weight)
        error = np.sqrt(np.sum((weight * (fewer - mean)) ** 2)) / weight.sum()
        points = np.average(
            [x["points"] for x in planted[kind].values()], weights=[x["hand_ins"] for x in planted[kind].values()]
        )
        assert len(rows) > 150
        assert abs(mean - points) < 3 * error
    assert set(pairs["grader_id"].dropna()) <= set(truth["grading"]["graders"])
    assert abs(np.mean(list(truth["grading"]["graders"].values()))) < 1e-3


def test_the_truth_lies_outside_and_no_file_tells_it(landing: Path, truth: dict) -> None:
    assert {name: d["planted_percent"] for name, d in truth["drivers"].items()} == {
        d.name: d.planted for d in drivers.DRIVERS
    }
    assert not list(landing.rglob("*truth*"))
    with pytest.raises(ValueError, match="landing folder"):
        simulate.write(landing, landing / "truth.json", 1, 50)


def test_one_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def content(name: str, seed: int) -> dict[str, str]:
        folder = tmp_path / name
        simulate.write(folder, tmp_path / f"{name}.json", seed, 60)
        files = [
            path
            for path in sorted(folder.rglob("*.*"))
            if path.suffix != ".parquet" or pq.read_metadata(path).num_rows  # the first months may be without events
        ]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first, again, other = content("a", 3), content("b", 3), content("c", 4)
    assert first == again
    fixed = {"institutions.csv", "programs.csv", "terms.csv", "skills.csv"}  # the world is the same in every university
    assert {name for name in first if first[name] == other.get(name)} <= fixed


def test_employers_people_differ_as_planted_and_all_learners_as_without_employers(
    landing: Path, truth: dict, files: duckdb.DuckDBPyConnection
) -> None:
    planted = pq.read_table(landing.with_name("truth-abilities.parquet")).to_pandas()
    members = files.execute("select learner_id, organization_id from organization_members").df()
    joined = planted.merge(members, on="learner_id")
    joined["shift"] = [
        truth["organizations"][organization][skill]
        for organization, skill in zip(joined["organization_id"], joined["skill_id"], strict=True)
    ]
    x, y = (joined[name] - joined[name].mean() for name in ("shift", "ability"))
    slope = (x * y).sum() / (x * x).sum()
    # The skills of one person go together: their rows are one draw.
    error = np.sqrt(((x * (y - slope * x)).groupby(joined["learner_id"]).sum() ** 2).sum()) / (x * x).sum()
    assert abs(slope - 1) < 3 * error
    assert error < 0.15
    shifts = pd.DataFrame(truth["organizations"]).T.loc[members["organization_id"]]
    assert np.allclose(shifts.mean(), 0, atol=1e-5)
    assert np.allclose(shifts.std(ddof=0), employers.SPREAD, atol=1e-5)
    # Gains come on top, for members and others alike.
    rest = planted[~planted["learner_id"].isin(members["learner_id"])]
    assert abs(joined["ability"].std() - rest["ability"].std()) < 0.1
