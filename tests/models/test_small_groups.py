"""From all published group figures together, nobody can work out more of a small group than what its row says.

The attack is linear programming: every published figure, bound and reason is a constraint on the figures of the
smallest groups, and so are the sums that are taken as known. Of a withheld figure must stay possible all that its row
leaves open: of a group of fewer than ten 1 to 9 learners, of an outcome 0 to 9.
"""

import re
from dataclasses import dataclass

import duckdb
import numpy as np
import pytest
import yaml
from scipy.optimize import linprog
from scipy.sparse import csr_array

from dagster_project.settings import REPOSITORY
from tests.models.made_source import MadeWarehouse

MINIMUM = 10
MOST = 120  # withheld figures of a table that are attacked, evenly over all of them
CHARACTERISTICS = ("gender", "age_band", "education_level", "deprivation_band", "has_disability")

GROUP_FIGURE = re.compile(r"_count$|_share$|_percent|_mean$|^mean_|^median_|^n$|^n_|rate$|percentile|retention|ability")
PERSON = re.compile(r"^learner_(key|id)$")
NOT_OF_GROUPS = {
    "a model's or a scale's quality over everybody": {
        "analytics.at_risk_backtest", "analytics.at_risk_calibration", "analytics.at_risk_drift",
        "analytics.at_risk_models", "analytics.at_risk_ranking", "analytics.driver_placebos", "analytics.skill_items",
        "analytics.skill_scales", "analytics.skill_courses", "analytics.skill_course_gains",
        "analytics.grader_severities", "analytics.grader_agreement",
    },
    "rows of files and of tables, or what courses are made of, no persons": {
        "reporting.feature_coverage", "reporting.source_coverage", "reporting.course_designs",
    },
}  # fmt: skip

MARTS = f"""
    select setseed(0.42);
    create schema core; create schema marts;
    create table core.dim_program as
        select
            'a' as source, 'a:p' || i as program_key, 'Program ' || i % 4 as program_name,
            'University' as university_name, if(i < 6, 'degree', 'university') as program_type,
            if(i % 2 = 0, 'master', 'bachelor') as level
        from range(8) as t (i);
    create table core.dim_term as
        select
            program_key || ':t' || y || s as term_key, program_key, 't' || y || s as term_id, 'fall' as season,
            make_date(2020 + y::integer, 2 + 7 * s::integer, 1) as starts_on
        from core.dim_program, range(3) as t (y), range(2) as u (s);
    create table core.dim_course as
        select
            'a' as source, program_key || 'c' || i as course_key, program_key, 'degree' as course_type,
            'Course ' || i as course_name, ['en', 'es'][1 + i % 2] as language
        from core.dim_program, range(4) as t (i)
        union all
        select 'a', 'a:o' || i, null, 'open', 'Open ' || i, 'en' from range(6) as t (i);
    create table core.dim_course_offering as
        select
            'a' as source, course_key || ':' || term_id as course_offering_key, course_key, program_key, term_key,
            term_id, starts_on
        from core.dim_course inner join core.dim_term using (program_key);
    create table core.dim_skill as
        select 'a:s' || i as skill_key, 'Skill ' || i as skill_name, 'c' as competency, 'd' as domain
        from range(5) as t (i);
    create table core.dim_course_skill as
        select 'a' as source, course_key, 'a:s' || hash(course_key) % 5 as skill_key from core.dim_course;
    create table core.dim_organization as
        select 'a:g' || i as organization_key, 'Organization ' || i as organization_name from range(4) as t (i);
    create table core.fct_organization_membership as
        select
            'a' as source, 'a:p' || p || 'l' || i as learner_key, 'a:g' || floor(4 * random() ** 2)::integer
                as organization_key,
            date '2019-01-01' as from_on, null::date as to_on
        from range(3) as t (p), range(60) as u (i) where random() < 0.4;

    -- Sizes from 1 to 60; in some offerings hardly anybody passes or fails.
    create table marts.mart_learner_course as
        with drawn as (
            select
                *,
                1 + floor(60 * random() ** 2)::integer as size,
                [0.05, 0.3, 0.7, 0.9, 0.98][1 + floor(5 * random())::integer] as passing
            from core.dim_course_offering
        ),
        rows as (select drawn.*, j, random() as u, random() as v, random() as w
            from drawn, range(60) as t (j) where j < size)
        select
            source, program_key || 'l' || j as learner_key, program_key || 'l' || j || ':' || course_offering_key
                as course_enrollment_key,
            course_offering_key, course_key, program_key, term_key, (random() * 20)::integer as active_days,
            starts_on - 5 as registered_on, u < passing as is_passed,
            u >= passing and v < 0.6 as is_withdrawn, starts_on < date '2022-06-01' or w < 0.3 as is_outcome_final,
            w < 0.9 as has_activity, if(w < 0.95, v < 0.9, null) as is_first_item_on_time,
            if(v < 0.9, w * 40, null) as learning_hours, 1980 + j::integer % 30 as birth_year,
            ['PE', 'ES', 'IN', 'KE', null][1 + floor(5 * (j / 60) ** 2)::integer] as country,
            {
    ", ".join(
        f"['x', 'y', 'z', 'w', null][1 + floor(5 * random() ** {k + 1})::integer] as {name}"
        for k, name in enumerate(CHARACTERISTICS)
    )
}
        from rows;
    create table marts.mart_course_term as
        select
            course_offering_key, any_value(term_key) as term_key, date '2024-01-01' as starts_on,
            date '2024-06-01' as ends_on, 3 as graded_item_count, 1.0 as median_click_count,
            1.0 as median_active_days, 1.0 as median_weighted_score_share
        from marts.mart_learner_course group by course_offering_key;
    create table marts.mart_learner_course_week as
        select
            source, course_offering_key, week as week_number, date '2024-01-01' + 7 * week::integer as as_of_on,
            random() > week / 20 as is_enrolled, (random() < 0.9)::integer * 7 as last_week_click_count,
            1 as last_week_active_days, 0.5 as submitted_share, 0.5 as on_time_share
        from marts.mart_learner_course, range(5) as t (week);

    create table marts.mart_learner_program as
        with drawn as (
            select
                *, floor(50 * random() ** 2)::integer as size,
                [0.05, 0.3, 0.7, 0.9, 0.98][1 + floor(5 * random())::integer] as staying
            from core.dim_term inner join core.dim_program using (program_key)
        )
        select
            source, program_key || 'l' || term_id || j as learner_key, program_key, term_key as first_term_key,
            case when year(starts_on) < 2022 or random() < 0.2 then random() < staying end as is_retained,
            case when year(starts_on) < 2022 then random() < staying end as is_reregistered_next_year,
            18 + floor(50 * random() ** 2)::integer as age_years, null::varchar as age_band,
            random() < 0.4 as has_stackable_enrollment
        from drawn, range(60) as t (j) where j < size;
    alter table marts.mart_learner_program add column has_stackable_completion boolean;
    update marts.mart_learner_program set has_stackable_completion = has_stackable_enrollment and random() < 0.5;
    alter table marts.mart_learner_program add column is_graduated boolean;
    update marts.mart_learner_program set is_graduated = is_retained and hash(learner_key) % 10 < hash(program_key) % 8;
    create table marts.mart_program_stackability as
        select distinct program_key, 2 as stackable_course_count from marts.mart_learner_program;

    create table core.fct_course_enrollment as
        select
            source, learner_key, course_enrollment_key, course_offering_key, course_key, registered_on,
            if(is_passed and is_outcome_final, registered_on + 100, null) as completed_on,
            if(is_passed, random(), null) as final_grade_share
        from marts.mart_learner_course
        union all
        select
            'a', learner_key, learner_key || ':' || open, null, open,
            date '2019-06-01' + (random() * 900)::integer, if(random() < 0.3, date '2022-01-01', null), null
        from marts.mart_learner_program, (select 'a:o' || i as open, i from range(6) as t (i))
        where hash(learner_key, i) % 30 <= i;
    create table core.fct_credential as
        select
            'a' as source, learner_key, ['course_certificate', 'degree', null][1 + floor(3 * random() ** 2)::integer]
                as kind,
            completed_on as issued_on
        from core.fct_course_enrollment where completed_on is not null and random() < 0.2;
    create table core.fct_daily_activity as
        select 'a' as source, learner_key, registered_on as activity_on, 3 as click_count, 60 as learning_seconds
        from core.fct_course_enrollment;
    create or replace table analytics.at_risk_scores as
        select
            'a' as source, 'not_retained' as outcome, 'a:p' || i as program_key, 'a:p' || i || 'l' || j as learner_key,
            timestamp '2024-03-01' as scored_at, date '2024-03-01' as scored_on, date '2024-02-29' as as_of_on,
            random() as probability, case when random() < 0.7 then random() end as probability_change,
            ['low', 'low', 'low', 'medium', 'high'][1 + floor(5 * random())::integer] as band
        from range(8) as t (i), range(60) as u (j) where i != 1 and j < 7 * i + 4;
    alter table analytics.at_risk_scores add column enrollment_key varchar;
    update analytics.at_risk_scores set enrollment_key = learner_key;
    -- Some of whom are not scored, of a program nobody.
    create schema features;
    create table features.feature_open_enrollments as
        select source, outcome, enrollment_key, learner_key, program_key, as_of_on from analytics.at_risk_scores
        union all
        select
            'a', 'not_retained', 'a:p' || i || 'u' || j, 'a:p' || i || 'u' || j, 'a:p' || i, date '2024-02-29'
        from range(8) as t (i), range(30) as u (j) where j < (i * 5 + 25) % 30;
"""

LEARNER_COURSES = """
    (select *, year(starts_on) as year_number from marts.mart_learner_course
    inner join core.dim_course_offering using (source, course_offering_key, course_key, program_key, term_key))
"""
AGES = (
    (18, "under 18"), (25, "18-24"), (30, "25-29"), (35, "30-34"), (40, "35-39"), (45, "40-44"), (50, "45-49"),
    (55, "50-54"),
)  # fmt: skip
AGE_BAND = "case " + " ".join(f"when {{age}} < {end} then '{name}'" for end, name in AGES) + " else '55+' end"
GROUP_NAMES = {name: name for name in CHARACTERISTICS} | {
    "age_band": f"coalesce(age_band, {AGE_BAND.format(age='year_number - birth_year')})"
}
BY_GROUP = " union all ".join(
    f"select *, '{name}' as characteristic, coalesce({value}::varchar, 'not known') as group_name "
    f"from {LEARNER_COURSES}"
    for name, value in GROUP_NAMES.items()
)
STARTERS = """
    (select *, year(starts_on) as first_year_number from marts.mart_learner_program
    inner join core.dim_term on first_term_key = term_key
    inner join core.dim_program on mart_learner_program.program_key = dim_program.program_key
    where program_type {} 'degree')
"""
OPEN = """
    (select *, year(registered_on) as year_number, completed_on is not null as is_completed
    from core.fct_course_enrollment where course_key like 'a:o%')
"""
OF_ORGANIZATIONS = """
    (select *, date_trunc('month', registered_on)::date as month_starts_on, year(registered_on) as year_number,
        completed_on is not null as is_completed
    from core.fct_course_enrollment
    inner join core.fct_organization_membership using (learner_key)
    inner join (
        select course_enrollment_key, has_activity from marts.mart_learner_course
    ) using (course_enrollment_key))
"""


@dataclass
class Attacked:
    """A table: what its rows count, and how its groups are nested, the finest first.

    Attributes:
        levels: value of the column `level` (None: there is none), and the keys of its groups.
        measures: count column → (SQL of the truth, SQL of all whom it is one part of; None: it is the size of a group).
            Withdrawals are a part of those who did not pass.
        known: keys of the sums that are taken as known; none: that of all groups.
        rounded: counts are to the next ten.
    """

    table: str
    units: str
    levels: list[tuple[str | None, tuple[str, ...]]]
    measures: dict[str, tuple[str, str | None]]
    known: tuple[str, ...] = ()
    rounded: bool = False


FINAL = "count(*) filter (is_outcome_final)"
OUTCOMES = {
    "enrollment_count": ("count(*)", None),
    "outcome_count": (FINAL, None),
    "passed_count": ("count(*) filter (is_outcome_final and is_passed)", FINAL),
    "withdrawn_count": (
        "count(*) filter (is_outcome_final and is_withdrawn)",
        "count(*) filter (is_outcome_final and not is_passed)",
    ),
}
LEVELS_OF_STARTERS = [
    ("program_term", ("first_term_key",)),
    ("program_year", ("program_key", "first_year_number")),
    ("year", ("first_year_number",)),
]
ATTACKED = [
    Attacked(
        "course_outcomes",
        LEARNER_COURSES,
        [
            ("course_term", ("course_offering_key",)),
            ("course_year", ("course_key", "year_number")),
            ("program_year", ("program_key", "year_number")),
            ("year", ("year_number",)),
        ],
        OUTCOMES
        | {
            "active_count": ("count(*) filter (has_activity)", "count(*)"),
            "first_item_on_time_count": (
                "count(*) filter (is_first_item_on_time)",
                "count(is_first_item_on_time)",
            ),
        },
    ),
    Attacked(
        "course_outcomes_by_group",
        f"({BY_GROUP})",
        [(None, ("program_key", "year_number", "characteristic", "group_name"))],
        OUTCOMES,
        known=("program_key", "year_number", "characteristic"),
    ),
    Attacked(
        "program_retention",
        STARTERS.format("="),
        LEVELS_OF_STARTERS,
        {
            "starter_count": ("count(*)", None),
            "followed_count": ("count(is_retained)", None),
            "retained_count": ("count(*) filter (is_retained)", "count(is_retained)"),
            "graduated_count": ("count(*) filter (is_graduated)", "count(is_graduated) filter (is_retained)"),
        },
    ),
    Attacked(
        "program_reregistration",
        STARTERS.format("!="),
        LEVELS_OF_STARTERS,
        {
            "starter_count": ("count(*)", None),
            "reregistered_next_year_count": (
                "count(*) filter (is_reregistered_next_year)",
                "count(is_reregistered_next_year)",
            ),
        },
    ),
    Attacked(
        "program_stackability",
        "(select *, case when has_stackable_completion then 'completed' when has_stackable_enrollment then 'enrolled' "
        "else 'other' end as way_in from marts.mart_learner_program)",
        [(None, ("program_key", "way_in"))],
        {
            "entrant_count": ("count(*)", None),
            "retained_count": ("count(*) filter (is_retained)", "count(is_retained)"),
        },
        known=("program_key",),
        rounded=True,
    ),
    Attacked(
        "at_risk_programs",
        "analytics.at_risk_scores",
        [("program", ("outcome", "program_key")), ("source", ("outcome",))],
        {
            "learner_count": ("count(*)", None),
            "at_risk_count": ("count(*) filter (band != 'low')", "count(*)"),
            "high_count": ("count(*) filter (band = 'high')", "count(*) filter (band != 'low')"),
        },
    ),
    Attacked(
        "at_risk_coverage",
        "(select open.*, scores.enrollment_key as scored_key from features.feature_open_enrollments as open "
        "left join analytics.at_risk_scores as scores using (outcome, enrollment_key))",
        [("program", ("outcome", "program_key")), ("source", ("outcome",))],
        {"open_count": ("count(*)", None), "scored_count": ("count(scored_key)", None)},
        rounded=True,
    ),
    Attacked(
        "open_course_funnel",
        OPEN,
        [("course_year", ("course_key", "year_number")), ("year", ("year_number",))],
        {
            "learner_count": ("count(*)", None),
            "completed_count": ("count(*) filter (is_completed)", "count(*)"),
        },
    ),
    Attacked(
        "degree_learner_ages",
        f"(select level as program_level, {AGE_BAND.format(age='age_years')} as age_band from {STARTERS.format('=')})",
        [(None, ("program_level", "age_band"))],
        {"learner_count": ("count(*)", None)},
        known=("program_level",),
        rounded=True,
    ),
    Attacked(
        "organization_courses",
        OF_ORGANIZATIONS,
        [
            ("course_month", ("organization_key", "course_key", "month_starts_on")),
            ("month", ("organization_key", "month_starts_on")),
            ("year", ("organization_key", "year_number")),
        ],
        {
            "enrollment_count": ("count(*)", None),
            "active_count": ("count(*) filter (has_activity)", "count(*)"),
            "completed_count": ("count(*) filter (is_completed)", "count(*)"),
            "graded_count": ("count(final_grade_share)", None),
        },
    ),
    Attacked(
        "credentials_by_month",
        "(select *, coalesce(kind, 'not known') as credential_kind, date_trunc('month', issued_on)::date as "
        "month_starts_on, year(issued_on) as year_number from core.fct_credential)",
        [
            ("month", ("credential_kind", "month_starts_on")),
            ("kind_year", ("credential_kind", "year_number")),
            ("year", ("year_number",)),
        ],
        {"credential_count": ("count(*)", None)},
    ),
    Attacked(
        "learning_by_country",
        "(select distinct learner_key, coalesce(country, 'not known') as country, year(registered_on) as year_number "
        "from marts.mart_learner_course)",
        [("country_year", ("country", "year_number")), ("year", ("year_number",))],
        {"learner_count": ("count(*)", None)},
        rounded=True,
    ),
    Attacked(
        "skill_demand",
        "(select distinct skill_key, learner_key, coalesce(country, 'not known') as country, language as "
        "course_language from marts.mart_learner_course inner join core.dim_course using (course_key) "
        "inner join core.dim_course_skill using (course_key))",
        [
            ("skill_country_language", ("skill_key", "country", "course_language")),
            ("skill_country", ("skill_key", "country")),
            ("skill", ("skill_key",)),
        ],
        {"learner_count": ("count(*)", None)},
        rounded=True,
    ),
]
ALONE = ("terms_active", "weekly_engagement", "weekly_active_learners")
PROTECTED = {
    "attacked here": {f"reporting.{x.table}" for x in ATTACKED} | {f"reporting.{table}" for table in ALONE},
    "attacked in tests/unit/test_suppression.py and test_skill_benchmarks.py": {
        "analytics.skill_benchmarks", "analytics.skill_gaps", "reporting.organization_skills",
    },
    "attacked in tests/unit/test_at_risk_metrics.py": {"analytics.at_risk_subgroups"},
    "of samples that share a mean where they nearly agree, attacked in tests/unit/test_suppression.py": {
        "analytics.driver_effects", "analytics.driver_specifications", "analytics.driver_dose_response",
        "reporting.driver_effects",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = MadeWarehouse(tmp_path_factory.mktemp("small_groups"))
    with duckdb.connect(str(warehouse.home / "build.duckdb")) as connection:
        connection.execute(MARTS)
    warehouse.build("run", "--select", *(x.table for x in ATTACKED), *ALONE)
    return warehouse


@dataclass
class Group:
    """A group with its true figure, and the least and most that its row says of it.

    Attributes:
        leaves: the finest groups of which it is made.
        of: all whom the figure is one part of; None: it is the size of the group.
    """

    name: str
    leaves: list[int]
    value: int
    of: int | None
    least: float = 0.0
    most: float = np.inf
    is_shown: bool = False

    def open_range(self) -> tuple[int, int] | None:
        """What must stay possible; None: nothing of it is small."""
        if self.of is None:
            return (len(self.leaves), MINIMUM - 1) if self.value < MINIMUM else None
        rest = self.of - self.value
        if self.value >= MINIMUM and rest >= MINIMUM:
            return None
        least = max(0, self.of - (MINIMUM - 1)) if rest < MINIMUM else 0
        most = min(MINIMUM - 1, self.of) if self.value < MINIMUM else self.of
        return least, most


def read_groups(warehouse, table: Attacked, measure: str) -> tuple[list[Group], list[list[int]]]:
    """The groups of a table, finest first, and the leaves of each sum that is taken as known."""
    truth, of = table.measures[measure]
    keys = list(dict.fromkeys([key for _, keys in table.levels for key in keys] + list(table.known)))
    leaves = warehouse.query(
        f"select {', '.join(keys)}, {truth}, {of or 'null'} from {table.units} "
        f"group by {', '.join(keys)} having {of or truth} > 0 order by all"
    )
    values = [dict(zip(keys, row, strict=False)) for row in leaves]

    def by(names: tuple[str, ...]) -> dict[tuple, list[int]]:
        found: dict[tuple, list[int]] = {}
        for number, row in enumerate(values):
            found.setdefault(tuple(row[name] for name in names), []).append(number)
        return found

    groups = []
    for level, names in table.levels:
        share = f"{measure.removesuffix('_count')}_share"
        bounds = f"{share}_at_least, {share}_at_most" if of else "null, null"
        where = f"where level = '{level}'" if level else ""
        rows = warehouse.query(
            f"select {', '.join(names)}, {measure}, {bounds}, withheld_because from reporting.{table.table} {where}"
        )
        published = {row[: len(names)]: row[len(names) :] for row in rows}
        for key, inside in by(names).items():
            total = sum(leaves[i][-1] for i in inside) if of else None
            group = Group(f"{level} {key}", inside, sum(leaves[i][-2] for i in inside), total)
            assert key in published or level == "course_month"  # where the smallest have no row
            count, at_least, at_most, why = published.get(key, (None,) * 4)
            if count is not None:
                group.is_shown = True
                assert group.open_range() is None
                margin = 5 if table.rounded else 0
                group.least, group.most = count - margin, count + margin
                assert group.least <= group.value <= group.most
            elif at_most is not None:
                assert group.value < MINIMUM
                group.most = MINIMUM - 1
            elif at_least is not None:
                assert total - group.value < MINIMUM
                group.least = total - (MINIMUM - 1)
            elif not of and why == f"fewer than {MINIMUM} learners" and group.value < MINIMUM:
                group.most = MINIMUM - 1
            groups.append(group)
    sums = list(by(table.known).values())
    return groups, [x for x in sums if sum(leaves[i][-2] for i in x) >= MINIMUM]  # a small one is not known either


def attack(groups: list[Group], sums: list[list[int]]) -> list[str]:
    """Withheld groups of which more can be told than that something of it is below the minimum."""
    leaf_count = 1 + max(max(group.leaves) for group in groups)
    of_leaf = {group.leaves[0]: group for group in groups if len(group.leaves) == 1}
    figures = [of_leaf[i].value for i in range(leaf_count)]
    in_sum = {leaf: inside for inside in sums for leaf in inside}
    found = []
    withheld = [group for group in groups if not group.is_shown and group.open_range()]
    for group in withheld[:: 1 + len(withheld) // MOST]:
        wanted = group.open_range()
        if group.of is None:  # a larger group of fewer than ten leaves room for one at least in each of its others
            others = [len(x.leaves) for x in groups if x.value < MINIMUM and set(group.leaves) <= set(x.leaves)]
            wanted = wanted[0], MINIMUM - 1 - (max(others) - len(group.leaves))
        # What follows from the sum and the sizes of its parts alone, whatever else is withheld.
        if group.leaves[0] in in_sum and set(group.leaves) < set(in_sum[group.leaves[0]]):
            inside = in_sum[group.leaves[0]]
            total = sum(figures[leaf] for leaf in inside)
            rest = len(inside) - len(group.leaves)
            if group.of is None:
                wanted = wanted[0], min(wanted[1], total - rest)
            else:
                of_others = sum(of_leaf[leaf].of for leaf in inside) - group.of
                wanted = max(wanted[0], total - of_others), min(wanted[1], total)
        # What is in other sums tells nothing of it.
        near = in_sum.get(group.leaves[0], group.leaves)
        place = {leaf: number for number, leaf in enumerate(near)}
        least = np.array([0.0 if group.of is not None else 1.0] * len(near))
        most = np.array([np.inf if (of := of_leaf[leaf].of) is None else of for leaf in near])
        rows, ends = [], []
        for other in groups:
            if other.leaves[0] not in place:
                continue
            at = [place[leaf] for leaf in other.leaves]
            if len(at) == 1:
                least[at[0]], most[at[0]] = max(least[at[0]], other.least), min(most[at[0]], other.most)
                continue
            row = np.zeros(len(near))
            row[at] = 1
            rows += [row, -row]
            ends += [min(other.most, 1e9), -other.least]
        if group.leaves[0] in in_sum:
            total = sum(figures[leaf] for leaf in near)
            rows += [np.ones(len(near)), -np.ones(len(near))]
            ends += [total, -total]
        figure = np.zeros(len(near))
        figure[[place[leaf] for leaf in group.leaves]] = 1
        bounds = list(zip(least, [None if np.isinf(x) else x for x in most], strict=True))
        limits = {"A_ub": csr_array(np.array(rows)), "b_ub": ends} if rows else {}
        low, high = (linprog(sign * figure, bounds=bounds, **limits) for sign in (1, -1))
        assert low.status == 0, low.message
        most_told = -high.fun if high.status == 0 else np.inf  # unbounded
        if low.fun > wanted[0] + 1e-6 or most_told < wanted[1] - 1e-6:
            found.append(f"{group.name}: {group.value} of {group.of} lies between {low.fun:.0f} and {most_told:.0f}")
    return found


CASES = [(x, measure) for x in ATTACKED for measure in x.measures]


@pytest.mark.parametrize(("table", "measure"), CASES, ids=[f"{x.table}.{measure}" for x, measure in CASES])
def test_nothing_follows_of_a_withheld_figure(warehouse, table, measure):
    groups, sums = read_groups(warehouse, table, measure)
    assert any(group.is_shown or group.least > 0 or group.most == MINIMUM - 1 for group in groups)
    assert attack(groups, sums) == []


def test_the_attack_finds_what_is_not_protected():
    """Four courses of a program whose sum is known: 30, 20, 5 and 12 learners, of whom only those 5 are withheld."""
    sizes = [30, 20, 5, 12]
    groups = [Group(f"{i}", [i], n, None, n, n, is_shown=True) for i, n in enumerate(sizes)]
    groups[2] = Group("2", [2], 5, None)
    assert attack(groups, [[0, 1, 2, 3]]) == ["2: 5 of None lies between 5 and 5"]
    # With the 12 beside it, of which its row says that they are not small, it may be anything from 1 to 7.
    groups[3] = Group("3", [3], 12, None, 10)
    assert attack(groups, [[0, 1, 2, 3]]) == ["2: 5 of None lies between 1 and 7"]
    groups[1] = Group("1", [1], 20, None, 10)
    assert attack(groups, [[0, 1, 2, 3]]) == []


def test_the_finest_groups_are_shown_where_they_are_large(warehouse):
    """Bounds instead of nothing: most courses in a term with ten learners tell something."""
    ((large, sized, told),) = warehouse.query(
        f"""
        select count(*), count(enrollment_count), count(active_share_told)
        from (select course_offering_key, count(*) as size from {LEARNER_COURSES} group by all)
        inner join reporting.course_outcomes using (course_offering_key) where size >= {MINIMUM}
        """
    )
    assert sized > 0.5 * large
    assert told > 0.3 * large


def test_weeks_tell_tens_of_learners_and_whole_percents(warehouse):
    rows = warehouse.query(
        "select enrolled_count, active_count, active_share, active_share_at_most, active_share_at_least, "
        "withheld_because, size, active from reporting.weekly_engagement inner join ("
        "select course_offering_key, week_number, count(*) as size, "
        "count(*) filter (last_week_click_count > 0) as active "
        "from marts.mart_learner_course_week where is_enrolled group by all) using (course_offering_key, week_number)"
    )
    told = 0
    for enrolled, active, share, at_most, at_least, why, size, really_active in rows:
        if size < MINIMUM:
            assert (enrolled, active, share, at_most, at_least) == (None,) * 5
            assert why == "fewer than 10 learners"
            continue
        assert enrolled % 10 == 0
        assert abs(enrolled - size) <= 5
        if min(really_active, size - really_active) < MINIMUM:
            assert active is share is None
            told += (at_most is not None) + (at_least is not None)
        else:
            assert active % 10 == 0
            assert share == round(share, 2)
            assert why is None
    assert told
    counts = warehouse.query("select learner_count from reporting.weekly_active_learners")
    assert {count % 10 for (count,) in counts if count is not None} == {0}


def test_terms_active_tell_tens_and_withhold_small_numbers(warehouse):
    rows = warehouse.query("select is_retained, learner_count, withheld_because from reporting.terms_active")
    assert {retained for retained, *_ in rows} == {True, False}
    assert all(count is None or (count >= MINIMUM and count % 10 == 0) for _, count, _ in rows)


def test_every_published_figure_of_a_group_is_protected_or_its_table_says_why_not():
    """A new table with a figure of persons and without the persons themselves has to be put into one of the lists.

    Tables of `core`, `marts` and `learners` have rows of single learners, and are for those who may see these; those of
    `reporting` have none.
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
    personal = {table for table, columns in names.items() if any(map(PERSON.search, columns))}
    assert not [table for table in personal if table.startswith("reporting.")]
    of_groups = {
        table for table, columns in names.items() if table not in personal and any(map(GROUP_FIGURE.search, columns))
    }
    listed = [table for group in (PROTECTED, NOT_OF_GROUPS) for tables in group.values() for table in tables]
    assert sorted(listed) == sorted(of_groups)


def test_the_minimum_is_a_setting(warehouse, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "40")
    warehouse.build("run", "--select", "course_outcomes")
    ((smallest,),) = warehouse.query("select min(enrollment_count) from reporting.course_outcomes")
    assert smallest >= 40
