"""Growth and scores beside a skill, against sums written out by hand on a bank whose figures are given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.longitudinal_bank import LongitudinalBank
from dagster_project.stats.skills.growth import abilities_by_quarter, organization_gains
from dagster_project.stats.skills.scale import LEARNER_WEIGHT, OtherScores, SkillAnswers, extend_scale

COURSES = ["A", "B"]


def day(text: str) -> int:
    return int(np.datetime64(text).astype(int))


def bank(questions=("q1", "q2", "q3"), gains=(0.4, 0.2), covariance=None):
    """Right or wrong, slope 1, difficulty 0; the last question is of B, the others of A; both courses have a gain."""
    zero = np.zeros(len(questions))
    items = pd.DataFrame(
        {
            "item": list(questions), "course": ["A"] * (len(questions) - 1) + ["B"], "slope": 1.0, "slope_se": zero,
            "intercept_1": zero, "intercept_1_se": zero, "slope_intercept_1_cov": zero, "n": 100,
        }
    )  # fmt: skip
    groups = pd.DataFrame({"group": ["all"], "mean": [0.0], "sd": [1.0], "n": [300]})
    courses = pd.DataFrame({"course": COURSES, "location": 0.0, "location_se": 0.1, "shared_se": 0.0})
    learned = pd.DataFrame({"course": COURSES, "shrunken_gain": list(gains)})
    return LongitudinalBank(
        ItemBank(items, groups, "graded", 49), courses, learned, np.zeros((4, 4)) if covariance is None else covariance
    )


def answers_of(rows, done=()):
    frame = pd.DataFrame(rows, columns=["learner", "item", "course", "day", "category"]).assign(quiz="z")
    completions = pd.DataFrame(list(done), columns=["learner", "course", "day"])
    return SkillAnswers(frame, completions, frame[["learner", "course"]], pd.DataFrame(), pd.Series(dtype=float))


def test_growth_by_quarter_goes_back_by_what_was_completed_since():
    """Ana answers in May, completes A (.4) in June, answers in August, completes B (.2), answers in November."""
    found = bank()
    skill = answers_of(
        [
            ("ana", "q1", "A", day("2024-05-03"), 1),
            ("ana", "q2", "A", day("2024-08-10"), 0),
            ("ana", "q3", "B", day("2024-11-20"), 1),
            ("bo", "q1", "A", day("2024-06-30"), 0),
            ("bo", "q2", "A", day("2024-07-01"), 1),
        ],
        [("ana", "A", day("2024-06-20")), ("ana", "B", day("2024-09-01"))],
    )
    data = skill.histories(found)
    found_rows = abilities_by_quarter(found, data, np.array([1.0, -0.5]), np.array([0.3, 0.5]), np.ones(2))
    assert found_rows["person"].tolist() == [0, 0, 0, 1, 1]
    assert found_rows["quarter"].astype(str).tolist() == [
        "2024-04-01", "2024-07-01", "2024-10-01", "2024-04-01", "2024-07-01",
    ]  # fmt: skip
    assert found_rows["ability"].tolist() == pytest.approx([0.4, 0.8, 1.0, -0.5, -0.5])
    assert found_rows["completed"].tolist() == [0, 1, 2, 0, 0]
    assert found_rows["answers"].tolist() == [1, 1, 1, 1, 1]
    assert found_rows["std_error"].tolist() == pytest.approx([0.3, 0.3, 0.3, 0.5, 0.5])


def test_an_earlier_ability_is_as_uncertain_as_the_gains_between():
    """One answer: information 1/4, prior 1. A gain between moves the posterior at the end and takes itself back."""
    covariance = np.zeros((4, 4))
    covariance[2, 2] = 0.09  # of A's gain
    found = bank(covariance=covariance)
    rows = [("ana", "q1", "A", day("2024-01-10"), 1), ("ana", "q2", "A", day("2024-06-10"), 0)]
    data = answers_of(rows, [("ana", "A", day("2024-03-01"))]).histories(found)
    quarters = abilities_by_quarter(found, data, np.zeros(1), np.array([0.5]), np.ones(1))
    mean = 0.0
    first = 1 / (1 + np.exp(0.4))
    w = np.array([first * (1 - first), 0.25])  # the first answer was given .4 lower
    v = 1 / (w.sum() + 1)
    # θ at the end: the prior's mean moves with the gain, the answer before it stands lower by it.
    at_end = (1 - v) - v * w[1]
    at_first = at_end - 1
    assert quarters["ability"].tolist() == pytest.approx([mean - 0.4, mean])
    expected = np.sqrt(0.25 + 0.09 * np.array([at_first, at_end]) ** 2)
    assert quarters["std_error"].to_numpy() == pytest.approx(expected, rel=1e-3)


def test_the_gain_of_an_organization_is_the_mean_over_members_who_answered_in_both_times():
    """120 questions answered at probability 1/2, then by 10 members at what .5 higher gives; the 11th once only."""
    rng = np.random.default_rng(2)
    questions = [f"q{i}" for i in range(800)]
    found = bank(questions, gains=(0.0, 0.0))
    before, after = [], []
    for j in range(10):
        for i, question in enumerate(questions):
            side, ability = (before, 0.0) if i < 400 else (after, 0.5)
            right = int(rng.random() < 1 / (1 + np.exp(-ability)))
            side.append((f"m{j}", question, "B" if i == 799 else "A", 100 + i, right))
    before.append(("once", "q0", "A", 100, 1))
    everything = answers_of(before + after)
    late = everything.answers["day"] >= 500
    sides = [replace(everything, answers=everything.answers[part]).histories(found) for part in (~late, late)]
    of = pd.Series({f"m{j}": "employer" for j in range(10)} | {"once": "employer", "m9": "employer"})
    (row,) = organization_gains(found, *sides, of).to_dict("records")
    assert row["organization"] == "employer"
    assert row["members"] == 10
    shares = [np.mean([r[4] for r in side if r[0] != "once"]) for side in (before, after)]
    logit = [np.log(p / (1 - p)) for p in shares]
    assert row["gain"] == pytest.approx(logit[1] - logit[0], abs=0.03)
    # 400 answers a member and time of information 1/4 each: error .1 each, of ten differences .045.
    assert row["gain_se"] == pytest.approx(np.sqrt(2 * 0.01 / 10), rel=0.5)


def test_an_organization_of_nine_has_no_gain():
    found = bank()
    rows = [(f"m{j}", q, "A", 10 if q == "q1" else 20, j % 2) for j in range(9) for q in ("q1", "q2")]
    skill = answers_of(rows)
    sides = [replace(skill, answers=skill.answers[skill.answers["day"] == d]).histories(found) for d in (10, 20)]
    assert organization_gains(found, *sides, pd.Series({f"m{j}": "x" for j in range(9)})).empty


def test_a_score_elsewhere_leaves_out_the_skill_itself():
    """Ana answers one question right in each of three skills, Bo wrong. All questions are as hard: residuals ± r."""
    learner = np.array([0, 0, 0, 1, 1, 1])
    skill = np.array([0, 1, 2, 0, 1, 2])
    scores = OtherScores(learner, skill, skill, np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    score, answers = scores.without(1)
    assert answers.tolist() == [2, 2]
    # Each question's mean is 1/2 whatever the learners are, so that residuals are ± 1/2.
    assert score.tolist() == pytest.approx([1.0 / (2 + LEARNER_WEIGHT), -1.0 / (2 + LEARNER_WEIGHT)])


def test_a_question_is_added_by_its_answers_in_courses_on_the_scale_only():
    """The new question was answered in A and, more often, in Z, whose place nobody knows."""
    rng = np.random.default_rng(4)
    found = bank()
    rows = []
    for j in range(600):
        ability = rng.standard_normal()
        for q, course in (("q1", "A"), ("q2", "A"), ("q3", "B")):
            rows.append((f"p{j}", q, course, 10, int(rng.random() < 1 / (1 + np.exp(-ability)))))
        rows.append((f"p{j}", "new", "A" if j < 250 else "Z", 11, int(rng.random() < 1 / (1 + np.exp(-ability + 0.5)))))
    extended = extend_scale(replace(found, facts={"item_sd": 1.0}), answers_of(rows), COURSES)
    assert extended is not None
    added = extended.bank.items.set_index("item").loc["new"]
    assert added["course"] == "A"
    assert added["n"] == 250
    right = np.mean([r[4] for r in rows if r[1] == "new" and r[2] == "A"])
    # With abilities of sd 1 a share of p lies about 1.15 logits of p below the mean.
    assert -added["intercept_1"] / added["slope"] == pytest.approx(-1.15 * np.log(right / (1 - right)), abs=0.35)
