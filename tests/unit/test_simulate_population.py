"""The simulated population: printed quartiles, planted switches, and events that keep their promises."""

from dataclasses import replace

import numpy as np
import pytest

from dagster_project import simulate
from dagster_project.simulate import courses, drivers, engagement, events, maps, truth, world
from dagster_project.simulate.enrollments import first_terms
from dagster_project.simulate.history import later_terms, other_programs
from dagster_project.simulate.population import Population, draw


@pytest.fixture(scope="module")
def population() -> Population:
    return draw(1, 4000, truth.solved())


def test_one_seed_gives_one_university_and_another_seed_another() -> None:
    first, again, other = (simulate.tables(seed, 200) for seed in (8, 8, 9))
    assert first.learner_course.equals(again.learner_course)
    assert first.learner_program.equals(again.learner_program)
    assert not first.learner_course.equals(other.learner_course)


def test_every_driver_and_control_is_a_column_of_its_table() -> None:
    tables = simulate.tables(2, 200)
    columns = {
        "learner_program": set(tables.learner_program.column_names),
        "learner_course": set(tables.learner_course.column_names),
    }
    assert columns["learner_program"] <= columns["learner_course"]
    assert {d.column for d in drivers.DRIVERS if d.level == "learner_program"} <= columns["learner_program"]
    assert {d.column for d in drivers.DRIVERS} <= columns["learner_course"]
    for column, (level, _) in drivers.CONTROLS.items():
        assert column in columns[level], column
    assert tables.learner_program.num_rows == 200


def test_students_are_those_with_a_matured_outcome_and_running_cohorts_come_on_top(population: Population) -> None:
    first_term = population.learners["first_term"]
    assert population.learners["matured"].sum() == population.students
    assert world.matured()[first_term[: population.students]].all()
    graduates = population.learners["graduates"]
    assert world.running()[first_term[population.students :][~graduates[population.students :]]].all()
    assert len(population) - graduates.sum() > population.students
    assert len(np.unique(population.learners["program"])) == 19


def test_drivers_without_effect_have_a_coefficient_of_exactly_zero() -> None:
    for name in truth.EXACT_NULLS:
        assert truth.solved().coefficient[name] == 0
        assert drivers.BY_NAME[name].planted == 0


def test_the_null_with_a_learner_component_correlates_between_courses_and_drivers_with_an_effect_do_not(
    population: Population,
) -> None:
    def between_courses(name: str) -> float:
        noise = population.noise[name]
        return float(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1])

    assert between_courses("forum") == pytest.approx(0.6, abs=0.04)
    for name in ("first_days", "first_hours", "days", "hours", "grade", "on_time"):
        assert abs(between_courses(name)) < 0.05


def test_the_hidden_confounder_moves_its_two_drivers_and_the_outcome_and_no_column_shows_it() -> None:
    plain, hidden = draw(3, 4000, truth.solved()), draw(3, 4000, truth.solved(), hidden=True)
    assert not len(plain.hidden)
    trait = hidden.hidden
    for moved in (hidden.learners["has_open_completion"], hidden.rows["days"][:, 0], hidden.probability):
        assert np.corrcoef(trait, moved)[0, 1] > 0.1
    for column in ("motivation", "age_years", "region", "has_stackable_enrollment", "courses_enrolled_count"):
        assert abs(np.corrcoef(trait, hidden.learners[column])[0, 1]) < 0.05
        np.testing.assert_array_equal(plain.learners[column], hidden.learners[column])


def test_shares_of_the_grade_sum_to_one_and_a_quiz_share_does_not_tell_who_else_grades(population: Population) -> None:
    mix = population.courses.mix
    shares = courses.grade_shares(mix)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    swapped = mix.present.copy()
    swapped[:, courses.STAFF] = ~swapped[:, courses.STAFF]
    quiz = courses.grade_shares(mix._replace(present=swapped))[:, courses.QUIZ]
    np.testing.assert_allclose(quiz, shares[:, courses.QUIZ])


def test_an_intervention_moves_what_follows_and_nothing_before(population: Population) -> None:
    days = population.rows["days"] + 3
    rows = truth._set_own(population, "days_active", days)
    for before in ("first_days", "first_seconds", "on_time"):
        assert rows[before] is population.rows[before]
    assert (rows["seconds"] > population.rows["seconds"]).any()
    assert (rows["grade"] != population.rows["grade"]).any()


def test_setting_a_driver_to_what_it_is_changes_no_probability(population: Population) -> None:
    for driver in drivers.DRIVERS:
        value, sample = truth.values(population, driver.name)
        same = truth.intervene(population, driver.name, value)
        expected = np.broadcast_to(population.probability.reshape(-1, *[1] * (value.ndim - 1)), value.shape)
        # 1e-5: the weights of items have six decimals, the shares that they realise have not.
        np.testing.assert_allclose(same[sample], expected[sample], atol=1e-5, err_msg=driver.name)


def test_days_and_seconds_of_a_plan_are_those_of_the_enrollment_part_by_part(population: Population) -> None:
    rows = first_terms(population).take(np.arange(3000))
    plan = events.plan_days(np.random.default_rng(0), rows, population.courses, engagement.draw(population, rows))
    learning = plan.seconds >= 0
    middle = np.maximum(7 * population.courses.weeks[rows.course] // 2, 10)[plan.enrollment]
    part = (plan.day >= 10).astype(int) + (plan.day >= middle)
    for k in range(3):
        mine = learning & (part == k)
        np.testing.assert_array_equal(np.bincount(plan.enrollment[mine], minlength=3000), rows.days[:, k])
        seconds = np.bincount(plan.enrollment[mine], plan.seconds[mine], minlength=3000)
        np.testing.assert_array_equal(seconds, rows.seconds[:, k])
    assert plan.seconds.max() <= 8 * 3600 + 1
    assert (plan.day <= rows.last_day[plan.enrollment])[plan.seconds > events.VISIT].all()


def events_of(population: Population, enrollments: int) -> list[tuple[events.Events, np.ndarray]]:
    """Events of first-term enrollments that have learning time or a forum visit, with their learners."""
    rows = first_terms(population).take(np.arange(enrollments))
    plan = events.plan_days(np.random.default_rng(0), rows, population.courses, engagement.draw(population, rows))
    date = rows.start.astype("datetime64[D]").astype(np.int64)[plan.enrollment] + plan.day
    order = np.argsort(date, kind="stable")
    plan = replace(plan, **{name: getattr(plan, name)[order] for name in ("enrollment", "day", "seconds")})
    learner, course = rows.learner[plan.enrollment], rows.course[plan.enrollment]
    chunks = events.expand(
        np.random.default_rng(1), plan, date[order], learner, course, plan.day / 60, population.courses
    )
    return [(chunk, rows.learner[chunk.enrollment]) for chunk in chunks]


def test_gaps_within_a_session_stay_below_the_idle_cap_and_pauses_above(population: Population) -> None:
    for chunk, _ in events_of(population, 1000):
        same_day = (np.diff(chunk.enrollment) == 0) & (np.diff(chunk.occurred // 86_400) == 0)
        gaps = np.diff(chunk.occurred)[same_day]
        assert (gaps >= 0).all()
        assert not ((gaps > 1700) & (gaps < events.IDLE_CAP + 60)).any()
        assert (gaps >= events.IDLE_CAP + 60).any()


def test_what_a_learner_does_in_two_courses_is_further_apart_than_the_idle_cap(population: Population) -> None:
    ((chunk, learner),) = events_of(population, 1000)
    order = np.lexsort((chunk.occurred, learner))
    other_course = (np.diff(learner[order]) == 0) & (np.diff(chunk.enrollment[order]) != 0)
    gaps = np.diff(chunk.occurred[order])[other_course]
    same_day = gaps < 86_400 / 2
    assert same_day.sum() > 100
    assert gaps.min() > events.IDLE_CAP


def test_a_value_map_has_the_printed_quartiles_and_bounded_tails() -> None:
    index = np.random.default_rng(0).gamma(2.0, size=20_001)
    value = maps.fit(index, 8, 18, floor=1, ceiling=99)(index)
    np.testing.assert_allclose(np.quantile(value, [0.25, 0.75]), [8, 18])
    assert value.min() == 1
    assert value.max() == 30.5


def test_nobody_is_active_after_leaving_and_the_retained_are_enrolled_a_year_later(population: Population) -> None:
    later = later_terms(population).enrollments
    first = population.learners["first_term"][later.learner]
    begin, end = world.terms().first_later[first], world.terms().last_later[first]
    kept = later.dropped_day < 0
    there = np.zeros(len(population), bool)
    there[later.learner[kept & (later.term >= begin) & (later.term <= end)]] = True
    known = population.learners["matured"]
    np.testing.assert_array_equal(there[known], population.retained[known])
    active = later.days.sum(axis=1) > 0
    gone = active & known[later.learner] & ~population.retained[later.learner]
    assert (later.term[gone] < begin[gone]).all()


def test_nobody_studies_in_two_sessions_at_once(population: Population) -> None:
    later = later_terms(population).enrollments
    starts, first = world.terms().start, population.learners["first_term"]
    learner = np.append(np.arange(len(population)), later.learner[later.dropped_day < 0])
    term = np.append(first, later.term[later.dropped_day < 0])
    seen = np.unique(np.stack([learner, term]), axis=1)
    apart = np.diff(starts[seen[1]])[np.diff(seen[0]) == 0]
    assert len(apart) > 1000
    assert (apart.astype(int) >= world.TERM_DAYS).all()


TERMS = [
    # program, first term, its first day, terms of the window a year later, the next term
    ("P01", "2022-fall", "2022-09-19", ["2023-fall"], "2023-fall"),  # no summer
    ("P05", "2023-summer", "2023-05-30", ["2024-summer"], "2024-summer"),  # an optional one
    # Two sessions: the first is obligatory, the second starts four weeks later.
    ("P03", "2022-fall", "2022-09-06", ["2023-fall", "2023-fall-2"], "2023-fall"),
    ("P03", "2022-fall-2", "2022-10-04", ["2023-fall", "2023-fall-2"], "2023-fall"),
    ("P03", "2023-spring", "2023-01-11", ["2024-spring"], "2024-spring"),
    ("P09", "2023-winter", "2022-12-30", ["2024-winter"], "2024-winter"),
    ("P09", "2023-spring", "2023-04-10", ["2024-spring"], "2024-spring"),
    ("P04", "2022-fall", "2022-09-05", ["2023-fall"], "2023-fall"),  # the institution's
    ("P14", "2022-fall", "2022-09-05", ["2023-fall"], "2023-fall"),
]


@pytest.mark.parametrize(("program", "term", "starts_on", "window", "following"), TERMS)
def test_every_calendar_has_its_window_a_year_later(
    program: str, term: str, starts_on: str, window: list[str], following: str
) -> None:
    terms = world.terms()
    (number,) = np.flatnonzero((terms.program == world.programs().ids.index(program)) & (terms.id == term))
    assert terms.start[number] == np.datetime64(starts_on)
    assert terms.id[terms.first_later[number] : terms.last_later[number] + 1].tolist() == window
    assert terms.id[terms.next_year[number]] == following


def test_most_programs_keep_fall_and_spring_and_each_calendar_has_its_share() -> None:
    terms = world.terms()
    years = {
        name: sorted(terms.id[(terms.program == p) & np.char.startswith(terms.id, "2023")].tolist())
        for p, name in enumerate(world.programs().ids)
    }
    shapes = [tuple(name.removeprefix("2023-") for name in year) for year in years.values()]
    assert {shape: shapes.count(shape) for shape in shapes} == {
        ("fall", "spring", "summer"): 9,
        ("fall", "spring"): 5,
        ("fall", "fall-2", "spring"): 2,
        ("fall", "fall-2", "spring", "summer"): 1,
        ("fall", "spring", "winter"): 2,
    }
    per_year = world.programs().terms_per_year
    assert [len(year) for year in years.values()] == per_year.tolist()


def test_graduates_come_on_top_and_have_no_row_in_the_analysis(population: Population) -> None:
    later = later_terms(population)
    terms, learners = world.terms(), population.learners
    early = learners["graduates"]
    first = learners["first_term"]
    known = terms.start[terms.last_later[first]] + world.DROP_DEADLINE_DAY
    graduated = ~np.isnat(later.completed_on)
    # Before the last drop deadline of the window; all others complete the program after it.
    assert early.sum() == np.ceil(0.03 * 4000 * short_share())
    assert (later.completed_on[early] <= known[early]).all()
    assert not (graduated & ~early & (later.completed_on <= known)).any()
    assert graduated.sum() > 10 * early.sum()
    assert not learners["matured"][early].any()
    ids = set(simulate.tables(1, 4000).learner_program["learner_id"].to_pylist())
    assert not ids & {f"L{number + 1:07d}" for number in np.flatnonzero(early)}
    begun = terms.start[later.enrollments.term]
    assert not (begun > later.completed_on[later.enrollments.learner]).any()


def short_share() -> float:
    """Share of the matured learners in the programs that some complete within a year."""
    return float(world.programs().share[list(world.SHORT)].sum())


def test_some_who_completed_a_program_begin_another_whose_first_year_is_not_over(population: Population) -> None:
    completed_on = later_terms(population).completed_on
    others = other_programs(population, completed_on)
    terms = world.terms()
    assert len(others.learner) > 30
    assert world.running()[others.first_term].all()
    assert (terms.program[others.first_term] != population.learners["program"][others.learner]).all()
    assert (terms.start[others.first_term] > completed_on[others.learner]).all()
    taught = population.courses.designs.program[others.enrollments.course]
    np.testing.assert_array_equal(taught, terms.program[others.enrollments.term])


def test_some_take_a_course_again_that_they_dropped(population: Population) -> None:
    first, later = first_terms(population), later_terms(population).enrollments
    again = population.courses.designs.role[later.course] == courses.FIRST_TERM
    dropped = set(zip(first.learner[first.dropped_day >= 0], first.course[first.dropped_day >= 0], strict=True))
    taken = list(zip(later.learner[again], later.course[again], strict=True))
    assert len(taken) == len(set(taken)) > 20
    assert set(taken) <= dropped
