"""Learners do less and less before they drop, fail or leave: how well that foretells them, from the files alone."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from dagster_project import simulate

# Share of a course that is over → area under the curve. OULAD's is .77, .81, .845 and .90 by a model of all that is
# known of a learner; this one knows little.
COURSES = {0.1: (0.70, 0.79), 0.25: (0.76, 0.85), 0.33: (0.79, 0.87), 0.5: (0.84, 0.92)}
# Which way each figure may count: more days of silence are no good sign, whatever else is known.
DIRECTIONS = {
    "since": 1,
    "last_clicks": -1,
    "last_days": -1,
    "given": -1,
    "score": -1,
    "earlier": 0,
    "courses": 0,
    "later_courses": -1,
    "dropped": 1,
}
# Week after the start of the first term → the same for first-year retention.
PROGRAMS = {2: (0.57, 0.66), 12: (0.61, 0.70), 24: (0.70, 0.80), 40: (0.82, 0.93)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    folder = tmp_path_factory.mktemp("university") / "landing"
    simulate.write(folder, folder.with_name("truth.json"), 11, 1500)
    connection = duckdb.connect(config={"threads": 1})
    for name in ("course_enrollments", "course_offerings", "course_items", "program_enrollments", "terms", "programs"):
        connection.execute(
            f"create table {name} as from read_csv('{folder}/{name}.csv', ignore_errors = true, all_varchar = true, "
            "nullstr = '')"
        )
    connection.execute(f"""
        create table days as
        select learner_id, course_id, term_id, occurred_at::date as day, count(distinct event_id) as clicks
        from read_parquet('{folder}/events/*.parquet') where occurred_at >= timestamp '2015-01-01' group by all;
        create table hand_ins as
        select distinct learner_id, course_id, term_id, item_id, submitted_at::date as day, score::double as score
        from read_csv('{folder}/submissions/*.csv', all_varchar = true, ignore_errors = true)
        where attempt_number = '1' and try_cast(submitted_at as timestamp) is not null;
    """)
    # Courses in a term, over by the last day, as last enrolled, without those dropped before they began.
    connection.execute("""
        create table taken as
        select e.learner_id, e.course_id, e.term_id, o.starts_on::date as start, o.ends_on::date + 1 - start as length,
            e.dropped_on::date as dropped, (e.completed_on is null)::int as ends_badly
        from course_enrollments as e join course_offerings as o using (course_id, term_id)
        where e.term_id <> 'open' and o.ends_on < '2025-10-01' and coalesce(dropped > start + 6, true)
        qualify row_number() over (partition by learner_id, course_id, term_id order by enrolled_at desc) = 1
    """)
    return connection


def foretold(rows: pd.DataFrame, outcome: str) -> float:
    """Area under the curve of boosted trees for the half of the learners that they did not see."""
    known = [name for name in rows if name in DIRECTIONS]
    seen = rows["learner_id"].str[1:].astype(int) % 2 == 0
    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=8, monotonic_cst={name: DIRECTIONS[name] for name in known}, random_state=0
    )
    model.fit(rows.loc[seen, known], rows.loc[seen, outcome])
    score = model.decision_function(rows.loc[~seen, known])
    return float(roc_auc_score(rows.loc[~seen, outcome], score))


def test_who_drops_or_fails_a_course_is_foretold_the_better_the_more_of_it_is_over(
    files: duckdb.DuckDBPyConnection,
) -> None:
    found = {}
    for share in COURSES:
        rows = files.execute(f"""
            with known as (
                select *, start + cast(round({share} * length) as int) as today from taken
                where dropped is null or dropped >= today
            ),
            active as (
                select k.learner_id, k.course_id, k.term_id, min(today - day) as since,
                    sum(clicks) filter (day >= today - 7) as last_clicks
                from known as k join days as d using (learner_id, course_id, term_id) where day < today group by all
            ),
            given as (
                select k.learner_id, k.course_id, k.term_id, count(*) as given, avg(score) as score
                from known as k join hand_ins as h using (learner_id, course_id, term_id) where day < today group by all
            ),
            earlier as (
                select k.learner_id, k.course_id, k.term_id, count(*) as earlier from known as k join taken as t
                on t.learner_id = k.learner_id and t.start < k.start group by all
            )
            select k.learner_id, k.ends_badly, coalesce(since, today - k.start + 1) as since,
                coalesce(last_clicks, 0) as last_clicks, coalesce(given, 0) as given, coalesce(score, 85) as score,
                coalesce(earlier, 0) as earlier
            from known as k left join active using (learner_id, course_id, term_id)
            left join given using (learner_id, course_id, term_id)
            left join earlier using (learner_id, course_id, term_id)
            order by all
        """).df()
        found[share] = foretold(rows, "ends_badly")
    assert all(low < found[k] < high for k, (low, high) in COURSES.items()), found
    assert (np.diff(list(found.values())) > 0.01).all(), found


def test_who_is_not_retained_is_foretold_the_better_the_later_in_the_first_year(
    files: duckdb.DuckDBPyConnection,
) -> None:
    found = {}
    for week in PROGRAMS:
        rows = files.execute(f"""
            with firsts as (
                select learner_id, min(start) as start from taken group by learner_id
                having min(start) < date '2024-08-01' and learner_id not in (
                    select learner_id from program_enrollments where completed_on is not null
                )
            ),
            -- The windows of these calendars reach 60 days to both sides of a year later.
            outcomes as (
                select f.learner_id, f.start + 7 * {week} as today,
                    1 - max((
                        abs(t.start - f.start - 365) <= 60 and coalesce(t.dropped > t.start + 21, true)
                    )::int) as is_gone,
                    count(*) filter (t.start < today) as courses,
                    count(*) filter (t.start < today and t.start > f.start + 70) as later_courses,
                    count(*) filter (t.dropped < today) as dropped
                from firsts as f join taken as t using (learner_id) group by f.learner_id, f.start
            )
            select o.learner_id, is_gone, courses, later_courses, dropped,
                coalesce(min(today - day), 999) as since, count(day) filter (day >= today - 28) as last_days
            from outcomes as o left join days as d
                on d.learner_id = o.learner_id and d.term_id <> 'open' and day < today
            group by all order by all
        """).df()
        found[week] = foretold(rows, "is_gone")
    assert all(low < found[k] < high for k, (low, high) in PROGRAMS.items()), found
    assert (np.diff(list(found.values())) > 0.01).all(), found
