"""The best that anybody can say of a school's abilities: by the planted questions and gains, from the same answers.

Numpy alone: nothing of `dagster_project` is in it, so that the product is not judged by its own code.
"""

import numpy as np
import pandas as pd

from tests.skill_school import School

FEWEST_ANSWERS, FEWEST_MEMBERS = 5, 10
NODES = 121
BAND = 1.6448536269514722
"""Of a normal distribution nine tenths lie within so many standard deviations of the mean."""


def oracle(school: School) -> pd.DataFrame:
    """Posterior of each learner and skill at the last answer: learner, skill, answers, mean, sd.

    By first attempts; the prior is normal with the planted mean and standard deviation of the skill at joining.
    """
    answers = school.answers[school.answers["attempt"] == 1]
    answers = answers.merge(school.truth.questions, on="item")
    return pd.concat([_oracle_of(school, skill, rows) for skill, rows in answers.groupby("skill")], ignore_index=True)


def _oracle_of(school: School, skill: str, answers: pd.DataFrame) -> pd.DataFrame:
    at_joining = school.truth.abilities.query("skill == @skill")["at_joining"]
    standard = np.linspace(-6, 6, NODES)
    nodes, log_prior = at_joining.mean() + at_joining.std() * standard, -(standard**2) / 2

    gains = school.completions.merge(school.courses.query("skill == @skill"), on="course")
    gains = gains.merge(school.truth.gains, on="course")[["learner", "day", "gain"]]
    answers = answers.sort_values(["learner", "day"], ignore_index=True)
    grown = _grown(answers[["learner", "day"]], gains)
    steps = answers.filter(like="step_").to_numpy()
    slope, category = answers["slope"].to_numpy(), answers["category"].to_numpy()
    log_likelihood = np.log(
        _at_least(category, slope, steps, grown, nodes) - _at_least(category + 1, slope, steps, grown, nodes)
    )
    learners, first = np.unique(answers["learner"], return_index=True)
    log_posterior = np.add.reduceat(log_likelihood, first, axis=0) + log_prior
    weight = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ nodes
    last = school.truth.abilities.query("skill == @skill").set_index("learner")["last_day"].reindex(learners)
    grown_by_last = _grown(pd.DataFrame({"learner": learners, "day": last.to_numpy(dtype=int)}), gains)
    return pd.DataFrame(
        {
            "learner": learners,
            "skill": skill,
            "answers": np.diff([*first, len(answers)]),
            "mean": mean + grown_by_last,
            "sd": np.sqrt(weight @ nodes**2 - mean**2),
        }
    )


def _at_least(
    category: np.ndarray, slope: np.ndarray, steps: np.ndarray, grown: np.ndarray, nodes: np.ndarray
) -> np.ndarray:
    """Chance of that category or a higher one, answers × nodes."""
    always, never = np.full(len(steps), -np.inf), np.full(len(steps), np.inf)
    location = np.column_stack([always, np.nan_to_num(steps, nan=np.inf), never])[np.arange(len(steps)), category]
    return 1 / (1 + np.exp(-slope[:, None] * (nodes + (grown - location)[:, None])))


def _grown(days: pd.DataFrame, gains: pd.DataFrame) -> np.ndarray:
    """What each learner has gained by completions before a day."""
    rows = days.reset_index(drop=True).rename_axis("row").reset_index()
    before = rows.merge(gains, on="learner", suffixes=("", "_completed")).query("day_completed < day")
    return np.bincount(before["row"], weights=before["gain"], minlength=len(days))


def agreement(school: School, scores: pd.DataFrame) -> pd.DataFrame:
    """How near scores of learners come to what was planted, by skill.

    Args:
        scores: learner, skill, mean and sd of the ability at the last answer. Only learners with at least five first
            answers in the skill count, and of those only the ones in `scores`.

    Returns:
        skill; learners, r: how many count, and the correlation of their means with the planted abilities;
        organizations, r_organizations: of those with at least 10 members that count, the correlation of the members'
        mean with their planted mean; held: the share of planted abilities within the 90 % bands. Only the last asks
        that scores are in the unit of the planted abilities.
    """
    answered = school.answers.query("attempt == 1").merge(school.questions[["item", "skill"]], on="item")
    answered = answered.groupby(["learner", "skill"]).size().rename("answered").reset_index()
    rows = scores.merge(answered.query("answered >= @FEWEST_ANSWERS"), on=["learner", "skill"])
    rows = rows.merge(school.truth.abilities, on=["learner", "skill"]).rename(columns={"at_last_answer": "planted"})
    rows = rows.merge(school.organizations, "left", on="learner")
    rows["is_held"] = (rows["mean"] - rows["planted"]).abs() <= BAND * rows["sd"]
    return pd.DataFrame({skill: _agreement_of(of_skill) for skill, of_skill in rows.groupby("skill")}).T


def in_planted_unit(school: School, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of a scale of its own, moved and stretched as a whole, skill by skill, to the planted unit.

    The abilities that they stand for (means and what is uncertain around them) get the mean and the standard deviation
    of the planted abilities of the same learners: no score comes nearer to its learner by it.
    """
    rows = scores.merge(school.truth.abilities, on=["learner", "skill"])
    moments = rows.assign(variance=rows["sd"] ** 2).groupby("skill").agg(
        mean=("mean", "mean"),
        var=("mean", "var"),
        noise=("variance", "mean"),
        planted=("at_last_answer", "mean"),
        planted_sd=("at_last_answer", "std"),
    )  # fmt: skip
    moments["stretch"] = moments["planted_sd"] / np.sqrt(moments["var"] + moments["noise"])
    of = moments.reindex(scores["skill"]).reset_index()
    stretch, mean, planted = (of[name].to_numpy() for name in ("stretch", "mean", "planted"))
    return scores.assign(mean=planted + stretch * (scores["mean"] - mean), sd=stretch * scores["sd"])


def _agreement_of(rows: pd.DataFrame) -> dict[str, float]:
    employers = rows.groupby("organization").agg(n=("mean", "size"), mean=("mean", "mean"), planted=("planted", "mean"))
    employers = employers[employers["n"] >= FEWEST_MEMBERS]
    return {
        "learners": len(rows),
        "r": rows["mean"].corr(rows["planted"]),
        "organizations": len(employers),
        "r_organizations": employers["mean"].corr(employers["planted"]),
        "held": rows["is_held"].mean(),
    }
