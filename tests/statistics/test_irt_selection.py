"""Abler learners take harder courses: one ability distribution for all biases difficulties, one per course pattern does
not.

    python -m pytest -m slow -s tests/statistics/test_irt_selection.py       # prints both fits in one table

40 populations of 6,000 learners: basic course (mean ability -.6), advanced course (.6), both (12 %); sd .8 within each;
20 questions a course, the advanced ones harder by 1 on average.
"""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.scoring import score
from dagster_project.stats.skills.scale import SkillAnswers, build_scale
from tests.item_simulation import simulate

POPULATIONS, LEARNERS, QUESTIONS = 40, 6000, 20
MEAN, SD = np.array([-0.6, 0.6, 0.2]), 0.8


def population(seed):
    rng = np.random.default_rng(seed)
    pattern = rng.choice(3, LEARNERS, p=[0.44, 0.44, 0.12])
    ability = MEAN[pattern] + SD * rng.standard_normal(LEARNERS)
    advanced = np.arange(2 * QUESTIONS) >= QUESTIONS
    observed = np.where(advanced, pattern[:, None] != 0, pattern[:, None] != 1)
    difficulty = 0.8 * rng.standard_normal(2 * QUESTIONS) + np.where(advanced, 0.5, -0.5)
    return simulate(rng, ability, 2 * QUESTIONS, observed=observed, difficulty=difficulty), pattern, advanced


def errors(data, pattern, advanced, grouped):
    """Biases and ability error in sds of the whole population; coverage of 95 % intervals on the bank's scale."""
    group = pattern[data.person] if grouped else None
    bank = calibrate(*data.long, group=group)
    scores = score(bank, *data.long, group=group)
    table = bank.difficulties()
    # Each fit's scale: the first group is the pattern "basic", or everybody.
    center, unit = (MEAN[0], SD) if grouped else (data.ability.mean(), data.ability.std())
    share = bank.groups["n"] / bank.groups["n"].sum()
    mean = (share * bank.groups["mean"]).sum()
    sd = np.sqrt((share * (bank.groups["sd"] ** 2 + bank.groups["mean"] ** 2)).sum() - mean**2)
    to_all = (data.ability.mean(), data.ability.std())
    bias = (table["difficulty"] - mean) / sd - (data.difficulty - to_all[0]) / to_all[1]
    ability_error = (scores["ability"] - mean) / sd - (data.ability - to_all[0]) / to_all[1]
    inside = np.abs(table["difficulty"] - (data.difficulty - center) / unit) < 1.96 * table["difficulty_se"]
    person_inside = np.abs(scores["ability"] - (data.ability - center) / unit) < 1.96 * scores["std_error"]
    return (
        bias[~advanced].mean(),
        bias[advanced].mean(),
        np.sqrt((ability_error**2).mean()),
        inside.mean(),
        person_inside.mean(),
    )


def errors_of_production(data, advanced):
    """Biases of basic and advanced questions on the scale that a skill gets: who took what is all that it is told."""
    answers = pd.DataFrame(
        {"learner": data.person, "item": data.item, "category": data.response, "quiz": "q", "day": 0}
    )
    answers["course"] = np.where(advanced[data.item], "advanced", "basic")
    nobody = pd.DataFrame({"learner": np.array([], int), "course": np.array([], object), "day": np.array([], int)})
    elsewhere = pd.DataFrame({"score": [], "answers": []})
    taken = answers[["learner", "course"]].drop_duplicates()
    scale = build_scale(SkillAnswers(answers, nobody, taken, elsewhere, pd.Series({"basic": 1, "advanced": 3})))
    found = scale.bank.bank.difficulties()["difficulty_1"].to_numpy()
    bias = found - (data.difficulty - data.ability.mean()) / data.ability.std()
    return bias[~advanced].mean(), bias[advanced].mean()


@pytest.mark.slow
def test_the_scale_of_a_skill_has_no_bias_of_the_harder_course():
    biases = np.mean([errors_of_production(*population(seed)[::2]) for seed in range(POPULATIONS)], axis=0)
    print(f"\nas production makes groups: bias basic {biases[0]:+.4f}, advanced {biases[1]:+.4f}")
    assert np.abs(biases).max() <= 0.03


@pytest.mark.slow
def test_groups_remove_the_bias_that_one_prior_has():
    one, groups = (
        np.mean([errors(*population(seed), grouped) for seed in range(POPULATIONS)], axis=0)
        for grouped in (False, True)
    )
    print("\n| | bias basic | bias advanced | ability RMSE | difficulty coverage | ability coverage |")
    print("|---|---|---|---|---|---|")
    for name, values in (("one N(0, 1) for all", one), ("mean and sd by course pattern", groups)):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    assert one[0] > 0.15
    assert one[1] < -0.15
    assert np.abs(groups[:2]).max() <= 0.03
    assert groups[2] < 0.85 * one[2]
    assert 0.94 <= groups[3] <= 0.96
    assert 0.94 <= groups[4] <= 0.96
