"""A school measured by the product: its statistics, fed as `analyses.skills` feeds them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from dagster_project.stats.skills.scale import OtherScores, Scale, SkillAnswers, build_scale
from tests.skill_school import School


class Measured(NamedTuple):
    """Scales by skill, and learners' scores (learner, skill, mean, sd, answers)."""

    scales: dict[str, Scale]
    scores: pd.DataFrame


def measured(school: School) -> Measured:
    first = school.answers.query("attempt == 1").merge(school.questions[["item", "skill"]], on="item")
    codes, labels = zip(*(pd.factorize(first[name], sort=True) for name in ("learner", "item", "skill")), strict=True)
    other = OtherScores(*codes, (first["category"] / first["highest_category"]).to_numpy())
    level = school.courses.set_index("course")["level"].dropna()
    scales, scores = {}, []
    for place, skill in enumerate(labels[2]):
        score, answers = other.without(place)
        taught = school.courses.loc[school.courses["skill"] == skill, "course"]
        known = SkillAnswers(
            first.loc[first["skill"] == skill, ["learner", "item", "course", "quiz", "day", "category"]],
            school.completions.loc[school.completions["course"].isin(taught), ["learner", "course", "day"]],
            school.enrollments[["learner", "course"]],
            pd.DataFrame({"score": score, "answers": answers}, index=labels[0]),
            level,
        )
        scale = scales[skill] = build_scale(known)
        assert scale.bank is not None, scale.reason
        data = known.histories(scale.bank)
        mean, sd = scale.bank.posterior(data).moments()
        _, prior_sd = scale.bank.prior(data)
        error = np.sqrt(sd**2 + scale.bank.error_variance(data, mean, prior_sd))
        frame = pd.DataFrame({"learner": data.persons, "mean": mean, "sd": error, "answers": data.answers})
        scores.append(frame.assign(skill=skill))
    return Measured(scales, pd.concat(scores, ignore_index=True))


def by_slopes(school: School, found: Measured) -> pd.DataFrame:
    """Scores in the planted unit, which the questions' slopes tell, and with the planted mean of the same learners."""
    planted_slope = school.truth.questions.set_index("item")["slope"]
    scores = found.scores.merge(school.truth.abilities, on=["learner", "skill"])
    for skill, scale in found.scales.items():
        items = scale.bank.bank.items
        unit = (items["slope"] * items["n"]).sum() / (planted_slope.loc[items["item"]].to_numpy() * items["n"]).sum()
        at = scores["skill"] == skill
        scores.loc[at, ["mean", "sd"]] *= unit
        scores.loc[at, "mean"] += (scores.loc[at, "at_last_answer"] - scores.loc[at, "mean"]).mean()
    return scores
