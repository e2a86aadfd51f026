"""The longitudinal model against sums written out by hand and against derivatives of a likelihood of its own."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from dagster_project.stats.item_response import longitudinal
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.histories import histories, pieces
from dagster_project.stats.item_response.longitudinal import add_items, calibrate_longitudinal
from dagster_project.stats.item_response.longitudinal_bank import LongitudinalBank, on_scale
from dagster_project.stats.item_response.quadrature import Grid

# Ana answers two questions of A, completes A on the day of the second one, and answers one of B the day after; Bo
# answers one of B only. Nobody has seen q5 and got it wrong.
ANSWERS = pd.DataFrame(
    [
        ("ana", "q1", 1, "A", 10),
        ("ana", "q2", 0, "A", 20),
        ("ana", "q3", 1, "B", 21),
        ("bo", "q3", 0, "B", 5),
        ("bo", "q1", 0, "A", 6),
        ("cy", "q2", 1, "A", 7),
        ("cy", "q5", 1, "A", 7),
    ],
    columns=["person", "item", "response", "course", "day"],
)
DONE = pd.DataFrame(
    [("ana", "A", 20), ("ana", "A", 30), ("nobody", "A", 1), ("bo", "B", 5)], columns=["person", "course", "day"]
)


def arranged(answers=ANSWERS, done=DONE, **how):
    columns = [answers[name] for name in ("person", "item", "response", "course", "day")]
    return histories(*columns, done["person"], done["course"], done["day"], **how)


def test_a_completion_counts_for_answers_of_later_days_only():
    data = arranged()
    assert list(data.persons) == ["ana", "bo", "cy"]
    assert list(data.items) == ["q1", "q2", "q3"]  # q5 was answered right by everybody
    assert [note[1] for note in data.notes] == ["q5"]
    assert data.before.tolist() == [0, 0, 1, 0, 1, 0]  # ana: the quiz of day 20 is part of A; bo: day 6 comes after B
    assert data.last.tolist() == [1, 1, 0]
    assert list(data.courses[data.course_of_item]) == ["A", "A", "B"]
    assert list(data.learned[data.done]) == ["A", "B"]  # the second completion of A adds nothing


def test_an_item_answered_twice_is_refused_by_name():
    with pytest.raises(ValueError, match="person ana has more than one response to item q1"):
        arranged(pd.concat([ANSWERS, ANSWERS[:1]]))


def test_order_of_the_rows_does_not_matter():
    one, other = arranged(), arranged(ANSWERS.sample(frac=1, random_state=3), DONE[::-1])
    for name in ("start", "row", "before", "done", "last", "course_of_item"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_people_who_share_no_course_are_pieces_of_their_own():
    apart = pd.DataFrame([("di", "q8", 0, "Z", 3), ("ed", "q8", 1, "Z", 3)], columns=ANSWERS.columns)
    persons, courses, taken_by = pieces(arranged(pd.concat([ANSWERS, apart])))
    assert persons.tolist() == [0, 0, 0, 1, 1]
    assert courses.tolist() == [0, 0, 1]
    assert taken_by.tolist() == [3, 2, 2]


def bank(gain=0.4, covariance=None):
    """Right or wrong: q1 (slope 1.2, difficulty -.5), q2 (.8, .3), both of A, q3 (1.5, .6) of B; A adds ``gain``."""
    slope, difficulty = np.array([1.2, 0.8, 1.5]), np.array([-0.5, 0.3, 0.6])
    zero = np.zeros(3)
    items = pd.DataFrame(
        {
            "item": ["q1", "q2", "q3"], "course": ["A", "A", "B"], "slope": slope, "slope_se": zero,
            "intercept_1": -slope * difficulty, "intercept_1_se": zero, "slope_intercept_1_cov": zero, "n": 100,
        }
    )  # fmt: skip
    groups = pd.DataFrame({"group": ["all"], "mean": [0.1], "sd": [0.9], "n": [300]})
    courses = pd.DataFrame({"course": ["A", "B"], "location": 0.0, "location_se": 0.1, "shared_se": 0.0})
    gains = pd.DataFrame({"course": ["A", "B"], "shrunken_gain": [gain, 0.2]})
    return LongitudinalBank(
        ItemBank(items, groups, "graded", 49), courses, gains, np.zeros((4, 4)) if covariance is None else covariance
    )


def posterior_by_hand(known, offsets, slope, difficulty, right, mean=0.1, sd=0.9):
    node = np.linspace(-8, 8, 4001)
    logit = slope * (node[:, None] + offsets - difficulty)
    p = 1 / (1 + np.exp(-logit))
    weight = np.exp(-0.5 * ((node - mean) / sd) ** 2) * np.prod(np.where(right, p, 1 - p), axis=1)
    weight /= weight.sum()
    m = weight @ node
    return m, np.sqrt(weight @ node**2 - m**2)


def test_a_score_is_the_ability_at_the_last_answer():
    """Ana's first two answers were given with .4 less than the third; cy completed nothing."""
    found = bank()
    data = arranged(items=found.bank, learned=np.array(["A", "B"], object))
    mean, sd = found.likelihood(data).posterior(0.1, 0.9).moments()
    slope, difficulty = np.array([1.2, 0.8, 1.5]), np.array([-0.5, 0.3, 0.6])
    ana = posterior_by_hand(found, np.array([-0.4, -0.4, 0.0]), slope, difficulty, np.array([True, False, True]))
    cy = posterior_by_hand(found, np.zeros(1), slope[1:2], difficulty[1:2], np.array([True]))
    assert (mean[0], sd[0]) == pytest.approx(ana, abs=2e-3)
    assert (mean[2], sd[2]) == pytest.approx(cy, abs=2e-3)


@pytest.mark.parametrize("moved", range(4))
def test_error_of_an_ability_is_its_derivative_by_locations_and_gains(moved):
    """Covariance with one error of variance one: the square of how the posterior mean moves with it."""
    one = np.zeros((4, 4))
    one[moved, moved] = 1.0
    found = bank(covariance=one)
    data = arranged(items=found.bank, learned=np.array(["A", "B"], object))
    mean, _ = found.likelihood(data).posterior(0.1, 0.9).moments()
    h = 0.05

    def moved_means(by):
        items, gains = found.bank.items.copy(), found.gains.copy()
        if moved < 2:
            of = items["course"] == ["A", "B"][moved]
            items.loc[of, "intercept_1"] -= items.loc[of, "slope"] * by
        else:
            gains.loc[moved - 2, "shrunken_gain"] += by
        other = replace(found, bank=replace(found.bank, items=items), gains=gains)
        return other.likelihood(data).posterior(0.1, 0.9).moments()[0]

    derivative = (moved_means(h) - moved_means(-h)) / (2 * h)
    variance = found.error_variance(data, mean, np.full(3, 0.9))
    # Information at the mean instead of the posterior's: good to a fifth with one to three answers.
    assert np.sqrt(variance) == pytest.approx(np.abs(derivative), rel=0.2, abs=0.02)


@pytest.mark.parametrize("moved", ["difficulty", "slope"])
@pytest.mark.parametrize("item", range(3))
def test_error_of_an_ability_is_its_derivative_by_each_question(moved, item):
    """One question with an error of variance one: the square of how the posterior mean moves with it."""
    found = bank()
    items = found.bank.items.copy()
    slope = items.loc[item, "slope"]
    if moved == "difficulty":
        items.loc[item, "intercept_1_se"] = slope
    else:  # the intercept follows, so that the difficulty stays
        difficulty = -items.loc[item, "intercept_1"] / slope
        items.loc[item, "slope_se"] = 1.0
        items.loc[item, "intercept_1_se"] = abs(difficulty)
        items.loc[item, "slope_intercept_1_cov"] = -difficulty
    uncertain = replace(found, bank=replace(found.bank, items=items))
    data = arranged(items=found.bank, learned=np.array(["A", "B"], object))
    mean, _ = found.likelihood(data).posterior(0.1, 0.9).moments()
    h = 0.05

    def moved_means(by):
        other = found.bank.items.copy()
        if moved == "difficulty":
            other.loc[item, "intercept_1"] -= slope * by
        else:
            other.loc[item, ["slope", "intercept_1"]] *= 1 + by / slope
        return replace(found, bank=replace(found.bank, items=other)).likelihood(data).posterior(0.1, 0.9).moments()[0]

    derivative = (moved_means(h) - moved_means(-h)) / (2 * h)
    variance = uncertain.error_variance(data, mean, np.full(3, 0.9))
    # A slope's effect is curved: with one to three answers its value at the mean misses a posterior by some hundredths.
    assert np.sqrt(variance) == pytest.approx(np.abs(derivative), rel=0.2, abs=0.02 if moved == "difficulty" else 0.06)


def population(seed=5, learners=1500, gain=0.5):
    """Two courses of ten questions and a check of six. The abler take the harder one too, most after the easier one."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(learners)
    takes_hard = rng.random(learners) < 1 / (1 + np.exp(-1.5 * ability))
    hard_day = np.where(rng.random(learners) < 0.3, 10, 60)
    slope = rng.uniform(0.8, 1.6, 26)
    difficulty = np.r_[rng.normal(-0.5, 0.6, 10), rng.normal(0.7, 0.6, 10), rng.normal(0, 1, 6)]
    rows, done = [], []
    for j in range(learners):
        for q in [*range(20, 26), *range(10), *(range(10, 20) if takes_hard[j] else ())]:
            day = 1 if q >= 20 else (20 if q < 10 else hard_day[j])
            theta = ability[j] + gain * (day == 60)
            rows.append((j, q, "check" if q >= 20 else ("easy" if q < 10 else "hard"), day, theta))
        done.append((j, "easy", 20))
    frame = pd.DataFrame(rows, columns=["person", "item", "course", "day", "theta"])
    p = 1 / (1 + np.exp(-slope[frame["item"]] * (frame["theta"] - difficulty[frame["item"]])))
    frame["response"] = (rng.random(len(frame)) < p).astype(int)
    return frame, pd.DataFrame(done, columns=["person", "course", "day"]), slope, difficulty, takes_hard


@pytest.fixture(scope="module")
def made():
    return population()


@pytest.fixture(scope="module")
def fitted(made):
    answers, done, *_, takes_hard = made
    data = arranged(answers, done)
    taken = csr_array(takes_hard[:, None].astype(float))
    return data, calibrate_longitudinal(data, {"easy": 1, "hard": 2}, taken=taken)


def test_gain_and_questions_are_recovered_where_the_abler_go_on(made, fitted):
    _, _, slope, difficulty, _ = made
    _, found = fitted
    assert found.facts["converged"]
    unit = found.bank.items["slope"].sum() / slope.sum()
    gain = found.gains.set_index("course").loc["easy"]
    assert abs(gain["gain"] * unit - 0.5) < 3 * gain["gain_se"] * unit
    assert gain["gain_se"] < 0.15
    estimated = found.bank.difficulties().filter(regex=r"^difficulty_\d+$").mean(axis=1).to_numpy() * unit
    error = estimated - difficulty
    error -= error[20:].mean()
    assert np.abs([error[:10].mean(), error[10:20].mean()]).max() < 0.12
    low = found.conf_int().set_index("course").loc["easy"]
    assert low["low"] < gain["gain"] < low["high"]
    assert "converged" in found.summary()


def test_the_score_of_a_shared_structure_is_that_of_a_likelihood_written_out(made):
    """Gradient by location, gain and regression against central differences of a likelihood of its own."""
    answers, done, slope, difficulty, takes_hard = made
    answers, done = answers[answers["person"] < 60], done[done["person"] < 60]
    data = arranged(answers, done)
    n = len(data.persons)
    x = csr_array(takes_hard[:n, None].astype(float))
    run = longitudinal._Estimation(data, x, np.array([longitudinal.TAKEN]), np.arange(3), Grid(97))
    items = data.items.astype(int)
    state = longitudinal._State(
        slope[items], -slope[items] * difficulty[items], np.zeros(3), np.array([0.3]), np.array([0.4])
    )
    run.state = state
    run.expect()
    from dagster_project.stats.item_response import longitudinal_kernels as kernels

    gradient, information = np.zeros(6), np.zeros((6, 6))
    kernels.structure(
        data.start, data.row, data.before, data.done_start, data.done, run.x.indptr.astype(np.int64), run.x.indices,
        run.x.data, run.scores, run.w, run.mean - run.prior, 1.0, run.course_of_row, run.item_of_row, 3, 1,
        gradient, information, np.zeros(len(items)),
    )  # fmt: skip

    gradient, _ = run._reduced(gradient, information)

    node = np.linspace(-7, 7, 1401)
    hard_of = dict(enumerate(takes_hard))
    courses = {"check": 0, "easy": 1, "hard": 2}

    def log_likelihood(vector):
        total = 0.0
        for person, rows in answers.groupby("person"):
            after = (rows["day"] > 20).to_numpy()
            shift = np.array([vector[courses[c]] for c in rows["course"]])
            item = rows["item"].to_numpy()
            logit = slope[item] * (node[:, None] + vector[3] * after - difficulty[item] - shift)
            p = 1 / (1 + np.exp(-np.where(rows["response"] == 1, logit, -logit)))
            prior = np.exp(-0.5 * (node - vector[4] * (hard_of[person] - takes_hard[:n].mean())) ** 2)
            total += np.log(prior @ np.prod(p, axis=1))
        return total

    start, h = np.array([0.0, 0.0, 0.0, 0.3, 0.4]), 1e-4
    numeric = [(log_likelihood(start + h * e) - log_likelihood(start - h * e)) / (2 * h) for e in np.eye(5)]
    assert gradient == pytest.approx(np.array(numeric), abs=0.05)


def test_one_course_without_anything_else_is_the_plain_model(made):
    answers = made[0].query("course == 'check'")
    nobody = pd.DataFrame({"person": np.array([], int), "course": np.array([], object), "day": np.array([], int)})
    found = calibrate_longitudinal(arranged(answers, nobody), {})
    plain = calibrate(answers["person"], answers["item"], answers["response"], model="2pl")
    assert found.bank.items["slope"].to_numpy() == pytest.approx(plain.items["slope"].to_numpy(), rel=0.06)
    ours = found.bank.difficulties()["difficulty_1"].to_numpy()
    assert ours == pytest.approx(plain.difficulties()["difficulty"].to_numpy(), abs=0.06)


def test_scale_moves_as_a_whole(fitted):
    data, found = fitted
    moved = on_scale(found, 2.0, 1.0)
    mean, sd = found.posterior(data).moments()
    there, wide = moved.posterior(data).moments()
    inside = np.abs(there) < 3  # further out, the nodes of the wider scale end
    assert there[inside] == pytest.approx(2 * mean[inside] + 1, abs=0.03)
    assert wide[inside] == pytest.approx(2 * sd[inside], abs=0.03)


def test_a_new_question_finds_its_place_and_the_others_keep_theirs(made, fitted):
    answers, done, *_ = made
    _, found = fitted
    without = replace(found, bank=replace(found.bank, items=found.bank.items[found.bank.items["item"] != 3]))
    data = arranged(answers, done, items=without.bank, learned=found.gains["course"].to_numpy(object), with_new=True)
    extended = add_items(without, data)
    new, old = (b.bank.items.set_index("item") for b in (extended, found))
    assert new.loc[3, "slope"] == pytest.approx(old.loc[3, "slope"], abs=0.12)
    assert new.loc[3, "intercept_1"] == pytest.approx(old.loc[3, "intercept_1"], abs=0.12)
    assert new.loc[3, "intercept_1_se"] > 0
    assert new["slope"].drop(3).equals(old["slope"].drop(3))


def test_equal_answers_and_completions_make_equal_scores(fitted, made):
    """Whatever else is known of two people: what they chose, and when, is in no score."""
    data, found = fitted
    mean, _ = found.posterior(data).moments()
    answers = made[0].sort_values("item")
    sheet = answers.groupby("person").agg(items=("item", tuple), responses=("response", tuple), days=("day", tuple))
    sheet["mean"] = mean
    same = sheet.groupby(["items", "responses", "days"])["mean"]
    assert same.size().max() > 1
    assert (same.max() - same.min()).max() < 1e-9
