"""Which questions to practise and which courses to take next: small banks and catalogues, the answers worked out."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.skills.next_courses import DONE, NO_GAIN, NOT_OPEN, TOO_EASY, TOO_HARD, next_courses
from dagster_project.stats.skills.practice import (
    exposure_limit,
    fit_to_ask,
    next_questions,
    question_information,
    shrink_slopes,
)

GRID = np.linspace(-6, 6, 4001)


def people(**abilities: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame([(name, *x) for name, x in abilities.items()], columns=["learner", "ability", "std_error"])


def bank(*questions: tuple[str, str, float, float]) -> pd.DataFrame:
    """Right or wrong: question, course, slope, difficulty."""
    frame = pd.DataFrame(questions, columns=["question", "course", "slope", "difficulty"])
    return frame.assign(content=frame["question"], intercept_1=-frame["slope"] * frame["difficulty"])


def answers(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["learner", "content", "category"]).astype({"category": int})


def right(slope: float, difficulty: float, ability) -> np.ndarray:
    return 1 / (1 + np.exp(-slope * (ability - difficulty)))


def test_information_of_a_question_answered_right_or_wrong_is_slope_squared_times_p_times_q():
    """Slope 1.5, difficulty .4. At .4, P = .5: 2.25 × .25 = .5625. At 1.4, P = 1 / (1 + e^-1.5) = .817574: 2.25 ×
    .817574 × .182426 = .335580.
    """
    found = question_information([1.5], [[-0.6]], [0.4, 1.4])
    assert found[:, 0] == pytest.approx([0.5625, 0.335580], abs=1e-6)


@pytest.mark.parametrize("steps", [[1.2, 0.1, -0.9], [1.2, np.nan, -0.9]])
def test_information_of_partial_credit_is_the_sum_of_squared_slants_over_chances(steps):
    def chances(ability: float) -> np.ndarray:
        reached = [1.0, *(1 / (1 + np.exp(-(1.3 * ability + step))) for step in steps if np.isfinite(step)), 0.0]
        return -np.diff(reached)

    slant = (chances(0.7 + 1e-6) - chances(0.7 - 1e-6)) / 2e-6
    expected = (slant**2 / chances(0.7)).sum()
    assert question_information([1.3], [steps], [0.7])[0, 0] == pytest.approx(expected, rel=1e-7)


def test_information_is_averaged_over_what_is_not_known_and_the_error_after_the_answer_is_expected_by_bayes():
    rows = next_questions(people(ann=(0.3, 0.5)), bank(("q", "c", 1.7, 0.1)), answers()).rows
    density = np.exp(-0.5 * ((GRID - 0.3) / 0.5) ** 2)
    density /= density.sum()
    p = right(1.7, 0.1, GRID)
    assert rows["information"].item() == pytest.approx((density * 1.7**2 * p * (1 - p)).sum(), rel=1e-6)
    variance = 0.0
    for chance in (p, 1 - p):
        after = density * chance
        variance += (after * GRID**2).sum() - (after * GRID).sum() ** 2 / after.sum()
    assert rows["expected_std_error"].item() == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_everybody_gets_the_questions_of_their_difficulty_that_they_have_not_answered_two_a_course():
    """Equal slopes: the nearest difficulty is the most informative. `low` at -1: easy (0 away), e2 (.2), e3 (.4), of
    which the third would be the third of its course: then mid (1), hard (2.1). `high` at 1: hard (.1), mid (1), then
    the easy ones, two of them. `knows` at -1 has answered easy, in an earlier version.
    """
    questions = bank(
        ("easy:2", "a", 1.2, -1.0),
        ("e2:1", "a", 1.2, -0.8),
        ("e3:1", "a", 1.2, -0.6),
        ("mid:1", "b", 1.2, 0.0),
        ("hard:1", "c", 1.2, 1.1),
    ).assign(content=["easy", "e2", "e3", "mid", "hard"])
    learners = people(low=(-1.0, 0.1), high=(1.0, 0.1), knows=(-1.0, 0.1))
    found = next_questions(learners, questions, answers(("knows", "easy", 1), ("knows", "of no course here", 0)))
    asked = found.rows.groupby("learner")["question"].agg(list)
    assert asked["low"] == ["easy:2", "e2:1", "mid:1", "hard:1"]
    assert asked["high"] == ["hard:1", "mid:1", "e3:1", "e2:1"]
    assert asked["knows"] == ["e2:1", "e3:1", "mid:1", "hard:1"]
    assert found.rows.groupby("learner")["rank"].agg(list).tolist() == [[1, 2, 3, 4]] * 3
    assert found.rows.groupby("learner")["information"].is_monotonic_decreasing.all()
    assert found.fewer == 3  # than five
    shares = found.exposure.set_index("question")["share"]
    assert shares["hard:1"] == 1
    assert shares["easy:2"] == pytest.approx(1 / 3)


def many(count: int = 400, size: int = 60) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(7)
    questions = bank(*[(f"q{k}", f"c{k // 4}", *x) for k, x in enumerate(rng.normal([1.3, 0], [0.2, 1], (size, 2)))])
    learners = people(**{f"l{k}": (x, 0.4) for k, x in enumerate(rng.normal(0, 0.3, count))})
    given = [(f"l{p}", f"q{k}", int(rng.random() < 0.5)) for p in range(count) for k in rng.permutation(size)[:8]]
    return learners, questions, answers(*given)


def test_no_question_goes_to_more_than_a_fifth_of_the_learners_and_everybody_has_five():
    learners, questions, given = many()
    found = next_questions(learners, questions, given)
    assert exposure_limit(400) == 80
    counts = found.rows["question"].value_counts()
    assert counts.max() <= 80
    told = found.exposure.set_index("question")["learners"]
    assert told[told > 0].to_dict() == counts.to_dict()
    assert (found.rows.groupby("learner").size() == 5).sum() == 400
    assert found.fewer == 0
    assert 0.7 < found.information_share < 1
    again = found.rows.merge(given, left_on=["learner", "question"], right_on=["learner", "content"])
    assert again.empty
    assert exposure_limit(30) == 10  # a fifth of few learners would leave them without questions


def test_learners_of_equal_answers_do_not_all_get_the_same_questions():
    learners, questions, _ = many()
    alike = learners.assign(ability=0.0)
    found = next_questions(alike, questions, answers())
    assert found.rows["question"].value_counts().max() <= 80
    assert found.fewer == 0


def test_neither_the_order_of_rows_nor_the_key_of_the_pseudonyms_decides_who_gets_what():
    learners, questions, given = many()
    rows = next_questions(learners, questions, given).rows
    renamed = dict(zip(learners["learner"], np.random.default_rng(1).permutation(400).astype(str), strict=True))
    again = next_questions(
        learners.assign(learner=learners["learner"].map(renamed)).sample(frac=1, random_state=2),
        questions.sample(frac=1, random_state=3),
        given.assign(learner=given["learner"].map(renamed)).sample(frac=1, random_state=4),
    ).rows
    was = rows.assign(learner=rows["learner"].map(renamed)).sort_values(["learner", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(was, again)


def test_a_question_that_misfits_or_moved_or_favours_a_group_is_not_asked():
    good = {"slope": 1.0, "is_misfit": False, "is_locally_dependent": False, "dif_class": "A"}
    good |= {"dif_language_class": "B", "is_anchor": True}
    changes = [{}, {"slope": np.nan}, {"slope": -0.1}, {"is_misfit": True}, {"is_locally_dependent": True}]
    changes += [{"dif_class": "C"}, {"dif_language_class": "C"}, {"is_anchor": False}]
    changes += [{"is_anchor": None, "dif_class": None, "is_misfit": None}]  # a first bank, few answers
    frame = pd.DataFrame([good | change for change in changes])
    assert fit_to_ask(frame).tolist() == [True] + 7 * [False] + [True]
    assert fit_to_ask(frame.convert_dtypes()).tolist() == [True] + 7 * [False] + [True]


def test_a_slope_with_a_large_error_is_drawn_to_the_middle_and_the_difficulty_stays():
    rng = np.random.default_rng(3)
    slopes = np.exp(rng.normal(0.2, 0.3, 80))
    items = pd.DataFrame(
        {"slope": slopes, "slope_se": 0.02 * slopes, "intercept_1": 0.4 * slopes, "intercept_2": np.nan}
    )
    items.loc[0, ["slope", "slope_se", "intercept_1"]] = [8.0, 8.0, -4.0]
    items.loc[1, ["slope", "slope_se", "intercept_1"]] = [12.0, np.nan, 6.0]
    found = shrink_slopes(items)
    assert found["slope"][0] == pytest.approx(np.exp(0.2 + 0.08 * (np.log(8) - 0.2)), abs=0.15)  # .3² ÷ (.3² + 1) = .08
    assert found["slope"][1] == pytest.approx(np.exp(0.2), abs=0.1)
    assert found["slope"][2:].to_numpy() == pytest.approx(slopes[2:], rel=0.01)
    assert (found["intercept_1"] / found["slope"]).to_numpy() == pytest.approx(items["intercept_1"] / items["slope"])
    assert found["intercept_2"].isna().all()


def test_asking_in_this_order_lowers_the_error_faster_than_at_random():
    """Ten questions each to 150 learners of known ability, everything scored on one grid."""
    rng = np.random.default_rng(5)
    count, size, turns = 150, 80, 10
    questions = bank(*[(f"q{k:02}", f"c{k}", *x) for k, x in enumerate(rng.normal([1.2, 0], [0.3, 1], (size, 2)))])
    slope, difficulty = questions["slope"].to_numpy(), questions["difficulty"].to_numpy()
    ability, names = rng.standard_normal(count), np.array([f"l{k:03}" for k in range(count)])
    grid = np.linspace(-5, 5, 201)
    known_right = right(slope[:, None], difficulty[:, None], grid)
    is_right = rng.random((count, size)) < right(slope, difficulty, ability[:, None])
    order = np.argsort(rng.random((count, size)), axis=1)

    def errors_after(is_chosen: bool) -> np.ndarray:
        posterior = np.tile(np.exp(-0.5 * grid**2), (count, 1))
        given = []
        for turn in range(turns):
            posterior /= posterior.sum(axis=1, keepdims=True)
            mean = posterior @ grid
            sd = np.sqrt(posterior @ grid**2 - mean**2)
            asked = order[:, turn]
            if is_chosen:
                learners = pd.DataFrame({"learner": names, "ability": mean, "std_error": sd})
                rows = next_questions(learners, questions, answers(*given), count=1).rows
                asked = rows["question"].str[1:].astype(int).to_numpy()
            got = is_right[np.arange(count), asked]
            posterior *= np.where(got[:, None], known_right[asked], 1 - known_right[asked])
            given += [(name, f"q{k:02}", int(x)) for name, k, x in zip(names, asked, got, strict=True)]
        posterior /= posterior.sum(axis=1, keepdims=True)
        mean = posterior @ grid
        return np.array([np.sqrt(posterior @ grid**2 - mean**2).mean(), np.sqrt(((mean - ability) ** 2).mean())])

    stated, true = errors_after(True)
    stated_at_random, true_at_random = errors_after(False)
    assert stated < 0.9 * stated_at_random
    assert true < 0.95 * true_at_random
    print(f"stated {stated:.3f} beside {stated_at_random:.3f}, true {true:.3f} beside {true_at_random:.3f}")


# --- courses

LEARNERS = pd.DataFrame(
    {"learner": ["ann", "ben", "cid"], "ability": [0.0, 4.0, -5.0], "percentile": [50.0, 99.9, 0.1]}
)
CATALOGUE = pd.DataFrame(
    {
        "course": ["basic", "best", "degree", "harmful", "untold"],
        "is_open": [True, True, False, True, True],
        "shrunken_gain": [0.2, 0.4, 0.6, -0.1, np.nan],
        "gain_low": [0.1, 0.2, 0.3, -0.4, np.nan],
        "gain_high": [0.3, 0.6, 0.9, 0.2, np.nan],
    }
)
# Learners of ability 0 get 1 / (1 + e^-.5) = .622 of the points.
ITEMS = pd.DataFrame({"course": CATALOGUE["course"], "slope": 1.0, "intercept_1": 0.5})
NONE = pd.DataFrame({"learner": [], "course": []}, dtype=object)


def pairs(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["learner", "course"])


def test_the_courses_with_the_largest_gain_that_suit_the_learner_and_are_open_to_them():
    rows = next_courses(LEARNERS, ITEMS, CATALOGUE, NONE, NONE).set_index("learner")
    ann = rows.loc[["ann"]]
    assert ann["course"].tolist() == ["best", "basic"]
    assert ann["rank"].tolist() == [1, 2]
    assert ann["expected_score_share"].astype(float).to_numpy() == pytest.approx(0.6225, abs=1e-4)
    assert ann["expected_ability"].tolist() == [0.4, 0.2]
    # At 4 they get 1 / (1 + e^-4.5) = .989 of the points, at -5 .011.
    assert rows.loc[["ben", "cid"], "reason"].tolist() == [TOO_EASY, TOO_HARD]
    assert rows.loc[["ben", "cid"], "course"].isna().all()
    assert rows.loc[["ben", "cid"], "rank"].tolist() == [1, 1]


def test_a_course_of_a_degree_is_for_whom_its_program_admitted_and_nobody_takes_one_twice():
    admitted, ann = pairs(("ann", "degree"), ("else", "degree")), LEARNERS.iloc[:1]
    assert next_courses(ann, ITEMS, CATALOGUE, NONE, admitted)["course"].tolist() == ["degree", "best", "basic"]
    taken = pairs(("ann", "degree"), ("ann", "basic"), ("ben", "best"))
    assert next_courses(ann, ITEMS, CATALOGUE, taken, admitted)["course"].tolist() == ["best"]
    taken = pairs(("ann", "best"), ("ann", "basic"))
    assert next_courses(ann, ITEMS, CATALOGUE, taken, NONE)["reason"].tolist() == [DONE]
    closed = CATALOGUE.assign(is_open=False)
    assert next_courses(ann, ITEMS, closed, NONE, NONE)["reason"].tolist() == [NOT_OPEN]
    untold = CATALOGUE.assign(shrunken_gain=np.nan)
    assert next_courses(ann, ITEMS, untold, NONE, NONE)["reason"].tolist() == [NO_GAIN]
    assert next_courses(ann, ITEMS.iloc[:0], CATALOGUE, NONE, NONE)["reason"].tolist() == [NO_GAIN]


def test_the_percentile_after_a_course_is_that_of_those_who_are_there_now():
    """Percentiles of a logistic population: at ability x it is 100 / (1 + e^-1.6x); after a gain of .4, at x + .4."""
    ability = np.linspace(-1, 1, 41)
    learners = pd.DataFrame({"learner": [f"l{k:02}" for k in range(41)], "ability": ability})
    learners["percentile"] = 100 * right(1.6, 0.0, ability)
    rows = next_courses(learners, ITEMS, CATALOGUE, NONE, NONE)
    best = rows[rows["course"] == "best"].merge(learners, on="learner")
    assert len(best) > 20
    assert best["expected_percentile"].astype(float).to_numpy() == pytest.approx(
        100 * right(1.6, 0.0, best["ability"].to_numpy() + 0.4)
    )
