"""From all published group figures together, nobody can work out the figure of a group under the minimum.

The attack is linear algebra: every published figure is an equation about groups of learners, and so is every margin;
what the equations span can be computed. Totals are taken as known, but where they are under the minimum themselves.
"""

import re
from itertools import chain, combinations

import duckdb
import numpy as np
import pytest
import yaml

from dagster_project.settings import REPOSITORY
from tests.models.made_source import MadeWarehouse

MINIMUM = 10
CHARACTERISTICS = ("gender", "age_band", "education_level", "deprivation_band", "has_disability")
TABLES = (
    "course_outcomes",
    "course_outcomes_by_group",
    "program_retention",
    "program_reregistration",
    "program_stackability",
    "at_risk_programs",
)

GROUP_FIGURE = re.compile(r"_count$|_share$|_percent|_mean$|^mean_|^median_|^n$|^n_|rate$|percentile|retention|ability")
PERSON = re.compile(r"^learner_(key|id)$")
PROTECTED = {
    "attacked here": {f"reporting.{table}" for table in TABLES},
    "of one group a row, each withheld for itself; none adds up to another": {"reporting.weekly_engagement"},
    "attacked in tests/unit/test_suppression.py and test_skill_benchmarks.py": {
        "analytics.skill_benchmarks", "analytics.skill_gaps", "reporting.organization_skills",
    },
    "attacked in tests/unit/test_at_risk_metrics.py": {"analytics.at_risk_subgroups"},
    "of samples that share a mean where they nearly agree, attacked in tests/unit/test_suppression.py": {
        "analytics.driver_effects", "analytics.driver_specifications", "analytics.driver_dose_response",
        "reporting.driver_effects",
    },
}  # fmt: skip
NOT_OF_GROUPS = {
    "a model's or a scale's quality over everybody": {
        "analytics.at_risk_backtest", "analytics.at_risk_calibration", "analytics.at_risk_drift",
        "analytics.at_risk_models", "analytics.at_risk_ranking", "analytics.driver_placebos", "analytics.skill_items",
        "analytics.skill_scales", "analytics.skill_course_gains",
    },
    "rows of files and of tables, no persons": {"reporting.feature_coverage", "reporting.source_coverage"},
}  # fmt: skip

MARTS = f"""
    select setseed(0.42);
    create schema core; create schema marts;
    create table core.dim_course as
        select 'a:c' || i as course_key, 'Course ' || i as course_name from range(30) as t (i);
    create table core.dim_course_offering as
        select course_key || ':t' as course_offering_key, course_key, 't' as term_id from core.dim_course;
    create table core.dim_program as
        select 'a:p' || i as program_key, 'Program ' || i as program_name, 'University' as university_name,
            'degree' as program_type from range(40) as t (i);
    create table core.dim_term as
        select
            'a:t' || i as term_key, 't' || i as term_id, 'fall' as season,
            date '2024-01-01' + i::integer as starts_on
        from range(6) as t (i);

    create table marts.mart_learner_course as
        select
            'a' as source, 'a:c' || i || ':t' as course_offering_key, (random() * 20)::integer as active_days,
            case when random() < 0.8 then random() < 0.6 end as is_passed,
            {
    ", ".join(
        f"['x', 'y', 'z', 'w', null][1 + floor(5 * random() ** {k + 1})::integer] as {name}"
        for k, name in enumerate(CHARACTERISTICS)
    )
}
        from range(30) as t (i), range(150) as u (j) where j < 4 + 5 * i;
    -- A course of 14 learners, of whom five at most have an outcome.
    update marts.mart_learner_course set is_passed = null where rowid in (
        select rowid from marts.mart_learner_course where course_offering_key = 'a:c2:t' limit 9
    );
    alter table marts.mart_learner_course add column is_withdrawn boolean;
    update marts.mart_learner_course set is_withdrawn = not is_passed;
    create table marts.mart_course_term as
        select
            source, course_offering_key, split_part(course_offering_key, ':t', 1) as course_key, 'a:t1' as term_key,
            'a:p1' as program_key, date '2024-01-01' as starts_on, date '2024-06-01' as ends_on, 3 as graded_item_count,
            count(*) as learner_count, count(*) as active_learner_count, 0 as distinction_count,
            count(*) filter (where is_passed) as pass_count, 0 as fail_count,
            count(*) filter (where is_withdrawn) as withdrawn_count,
            avg(is_passed::integer) as passed_share, avg(is_withdrawn::integer) as withdrawn_share,
            1.0 as median_click_count, 1.0 as median_active_days, 1.0 as median_weighted_score_share,
            1.0 as first_item_on_time_share
        from marts.mart_learner_course group by source, course_offering_key;

    create table marts.mart_learner_program as
        select
            'a' as source, 'a:p' || i as program_key, 'a:t' || floor(6 * random() ** 2)::integer as first_term_key,
            case when random() < 0.8 then random() < 0.7 end as is_retained,
            random() < (i % 7) / 9.0 as has_stackable_enrollment
        from range(40) as t (i), range(130) as u (j) where j < 3 + 3 * i;
    create or replace table analytics.at_risk_scores as
        select
            'a' as source, 'not_retained' as outcome, 'a:p' || i as program_key, timestamp '2024-03-01' as scored_at,
            date '2024-03-01' as scored_on, date '2024-02-29' as as_of_on, random() as probability,
            case when random() < 0.7 then random() end as probability_change,
            ['high', 'medium', 'low'][1 + floor(3 * random())::integer] as band
        from range(40) as t (i), range(60) as u (j) where i != 1 and j < 2 * i + 4;
    alter table marts.mart_learner_program add column is_reregistered_next_year boolean;
    alter table marts.mart_learner_program add column has_stackable_completion boolean;
    update marts.mart_learner_program set
        is_reregistered_next_year = is_retained,
        has_stackable_completion = has_stackable_enrollment and random() < 0.5;
    create table marts.mart_program_stackability as
        select
            source, program_key, 2 as stackable_course_count, 100 as open_learner_count, 50 as open_completer_count,
            count(*) filter (where has_stackable_enrollment) as enrolled_entrant_count,
            count(*) filter (where has_stackable_completion) as completed_entrant_count,
            count(*) filter (where not has_stackable_enrollment) as other_entrant_count,
            count(is_retained) filter (where has_stackable_enrollment) as enrolled_followed_count,
            count(is_retained) filter (where has_stackable_completion) as completed_followed_count,
            count(is_retained) filter (where not has_stackable_enrollment) as other_followed_count,
            avg(is_retained::integer) filter (where has_stackable_enrollment) as enrolled_retained_share,
            avg(is_retained::integer) filter (where has_stackable_completion) as completed_retained_share,
            avg(is_retained::integer) filter (where not has_stackable_enrollment) as other_retained_share,
            count(*) filter (where has_stackable_enrollment) / 100.0 as open_learner_to_entrant_share
        from marts.mart_learner_program group by source, program_key;
"""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = MadeWarehouse(tmp_path_factory.mktemp("small_groups"))
    with duckdb.connect(str(warehouse.home / "build.duckdb")) as connection:
        connection.execute(MARTS)
    warehouse.build("run", "--select", *TABLES)
    return warehouse


def attack(sizes: list[int], equations: list[set[int]], minimum: int = MINIMUM) -> list[tuple[int, ...]]:
    """Groups (sets of cells) of 1 to `minimum` - 1 learners whose figure the equations give.

    Args:
        sizes: learners in each cell; cells have no learner in common.
        equations: sets of cells whose figures added up are published; all of them together are known besides.
    """
    equations = [set(range(len(sizes)))] * (sum(sizes) >= minimum) + equations
    known = np.array([[cell in equation for cell in range(len(sizes))] for equation in equations], float)
    if not equations:
        return []
    span = np.linalg.pinv(known) @ known  # projects on all that follows from the equations
    small = [cell for cell in range(len(sizes)) if 0 < sizes[cell] < minimum]
    return [
        group
        for group in chain.from_iterable(combinations(small, k) for k in range(1, len(small) + 1))
        if sum(sizes[cell] for cell in group) < minimum
        and np.allclose(span @ (row := np.isin(range(len(sizes)), group).astype(float)), row, atol=1e-9)
    ]


def partitions(warehouse, table: str, groups: tuple[str, ...], cell: str, size: str, figure: str, truth: str):
    """For each partition the sizes of its cells, and which have a published figure."""
    names = ", ".join(groups)
    return [
        (sizes, [number for number, shown in enumerate(is_shown) if shown])
        for *_, sizes, is_shown in warehouse.query(
            f"select {names}, list({size} order by {cell}), list({figure} is not null order by {cell}) "
            f"from ({truth}) as truth inner join reporting.{table} using ({names}, {cell}) group by {names}"
        )
    ]


BY_GROUP = " union all ".join(
    f"select course_offering_key, '{name}' as characteristic, coalesce({name}::varchar, 'not known') as group_name, "
    f"count(*) as learner_count_, count(is_passed) as followed_count_ from marts.mart_learner_course "
    f"group by all"
    for name in CHARACTERISTICS
)
BY_TERM = """
    select program_name, term_id as first_term_name, count(*) as starter_count_, count(is_retained) as followed_count_
    from marts.mart_learner_program
    inner join core.dim_program using (program_key) inner join core.dim_term on first_term_key = term_key group by all
"""
COURSE = ("course_outcomes_by_group", ("course_offering_key", "characteristic"), "group_name")
PARTITIONED = [
    (*COURSE, "learner_count_", "learner_count", BY_GROUP),
    (*COURSE, "learner_count_", "median_active_days", BY_GROUP),
    (*COURSE, "followed_count_", "passed_share", BY_GROUP),
    (*COURSE, "followed_count_", "withdrawn_share", BY_GROUP),
    ("program_retention", ("program_name",), "first_term_name", "starter_count_", "starter_count", BY_TERM),
    ("program_retention", ("program_name",), "first_term_name", "followed_count_", "followed_count", BY_TERM),
    ("program_retention", ("program_name",), "first_term_name", "followed_count_", "retained_share", BY_TERM),
    ("program_reregistration", ("program_name",), "first_term_name", "starter_count_", "starter_count", BY_TERM),
    (
        "program_reregistration", ("program_name",), "first_term_name", "followed_count_",
        "reregistered_next_year_share", BY_TERM,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "groups", "cell", "size", "figure", "truth"), PARTITIONED, ids=[f"{x[0]}.{x[4]}" for x in PARTITIONED]
)
def test_no_small_group_follows_from_the_others_and_their_sum(warehouse, table, groups, cell, size, figure, truth):
    cases = partitions(warehouse, table, groups, cell, size, figure, truth)
    assert sum(len(shown) for _, shown in cases) > 20  # not everything is withheld
    unprotected = 0
    for sizes, shown in cases:
        assert attack(sizes, [{one} for one in shown]) == []
        large = [number for number, learners in enumerate(sizes) if learners >= MINIMUM]
        unprotected += len(attack(sizes, [{one} for one in large]))
    assert unprotected > 0  # the attack works: with the small groups alone withheld it finds them


SCORED = """
    select source, program_name, count(*) as learner_count_, count(probability_change) as changed_count_
    from analytics.at_risk_scores inner join core.dim_program using (program_key) group by all
"""
PARTITIONED_ONCE = [
    ("at_risk_programs", ("source",), "program_name", "learner_count_", "learner_count", SCORED),
    ("at_risk_programs", ("source",), "program_name", "learner_count_", "mean_probability", SCORED),
    ("at_risk_programs", ("source",), "program_name", "changed_count_", "mean_probability_change", SCORED),
]


@pytest.mark.parametrize("figure", PARTITIONED_ONCE, ids=[f"{x[0]}.{x[4]}" for x in PARTITIONED_ONCE])
def test_no_small_program_follows_from_all_others(warehouse, figure):
    ((sizes, shown),) = partitions(warehouse, *figure)
    assert len(shown) > 20
    hidden = [size for number, size in enumerate(sizes) if number not in shown]
    assert min(size for number, size in enumerate(sizes) if number in shown) >= MINIMUM
    assert 0 < min(hidden) < MINIMUM
    assert len(hidden) > 1
    assert sum(hidden) >= MINIMUM


def test_outcomes_of_few_are_not_counted_although_the_course_is_large(warehouse):
    query = """
        select followed, list([distinction_count, pass_count, fail_count, withdrawn_count, passed_share]) as shown
        from reporting.course_outcomes inner join (
            select course_offering_key, pass_count + withdrawn_count as followed from marts.mart_course_term
        ) using (course_offering_key)
        where learner_count is not null group by followed
    """
    rows = warehouse.query(query)
    few = [shown for followed, shown in rows if followed < MINIMUM]
    assert few
    assert {value for shown in few for row in shown for value in row} == {None}
    assert len(rows) > len(few)


def test_every_published_figure_of_a_group_is_protected_or_its_table_says_why_not():
    """A new table with a figure of persons and without the persons themselves has to be put into one of the lists.

    Tables of `core` and `marts` stand beside the rows of single learners, and are for those who may see these.
    """
    tables = {}
    for path in (REPOSITORY / "dbt" / "models").rglob("*.yml"):
        described = yaml.safe_load(path.read_text())
        for model in described.get("models", []):
            if path.parent.name == "reporting":
                tables[f"reporting.{model['name']}"] = model["columns"]
        for source in described.get("sources", []):
            if source["name"] == "analytics":
                tables |= {f"analytics.{table['name']}": table["columns"] for table in source["tables"]}
    names = {table: [column["name"] for column in columns] for table, columns in tables.items()}
    of_groups = {
        table
        for table, columns in names.items()
        if not any(map(PERSON.search, columns)) and any(map(GROUP_FIGURE.search, columns))
    }
    listed = [table for group in (PROTECTED, NOT_OF_GROUPS) for tables in group.values() for table in tables]
    assert sorted(listed) == sorted(of_groups)


ENTRANTS = ("completed", "enrolled", "other")


@pytest.mark.parametrize("figure", ["entrant_count", "retained_share"])
def test_no_small_group_of_entrants_follows_from_the_others(warehouse, figure):
    size = figure.replace("retained_share", "followed_count")
    rows = warehouse.query(
        f"""
        select
            {", ".join(f"truth.{name}_{size}" for name in ENTRANTS)},
            {", ".join(f"published.{name}_{figure} is not null" for name in ENTRANTS)},
            published.open_learner_to_entrant_share is not null
        from reporting.program_stackability as published
        inner join core.dim_program using (program_name)
        inner join marts.mart_program_stackability as truth using (program_key)
        """
    )
    unprotected = shown_figures = 0
    for completed, enrolled, other, *is_shown, is_share_shown in rows:
        sizes = [completed, enrolled - completed, other]
        cells = [{0}, {0, 1}, {2}]
        equations = [cell for cell, shown in zip(cells, is_shown, strict=True) if shown]
        if is_share_shown and figure == "entrant_count":  # times the learners of the open courses
            equations.append({0, 1})
        assert attack(sizes, equations) == []
        shown_figures += len(equations)
        unprotected += len(attack(sizes, [x for x in cells if sum(sizes[i] for i in x) >= MINIMUM]))
    assert unprotected > 0
    assert shown_figures > 20


def test_the_minimum_is_a_setting(warehouse, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "40")
    warehouse.build("run", "--select", "course_outcomes")
    ((smallest,),) = warehouse.query("select min(learner_count) from reporting.course_outcomes")
    assert smallest >= 40
