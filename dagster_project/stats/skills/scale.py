"""One skill: from answers, completions and enrolments to a scale, and from it to what is said about its questions.

Who takes a course is not drawn by lot. The regression of the calibration therefore knows of each learner how many
courses of which level they took, which ones, how they answered in other skills, and how those answered in other skills
who took the same courses. It knows no country, education or employer: these would explain ability, not who answers
what, and a score must not rest on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.fit import (
    FEWEST_RESPONSES,
    LOCAL_DEPENDENCE,
    MISFIT_RMSD,
    differential_functioning,
    residual_correlations,
)
from dagster_project.stats.item_response.histories import Histories, histories
from dagster_project.stats.item_response.longitudinal import add_items, calibrate_longitudinal
from dagster_project.stats.item_response.longitudinal_bank import LongitudinalBank

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

FEWEST_ANSWERS = 500  # of a skill, to make a scale
WINDOW_DAYS = 365  # answers of so many days up to a learner's last one say that the ability is of today
LARGEST_LOCATION_ERROR = 0.20  # of a course on the scale, in sds of ability
FEWEST_ENROLLED = 50  # in a course, to be a trait of its takers
MOST_COUNTED = 6  # completed courses
LEARNER_WEIGHT = 9.5  # answers: variance of an answer's score around what is expected, in variances between learners
LARGEST_DIF_GROUPS = 3
FEWEST_TO_FIT = 200  # answers to a question: with fewer, chance alone makes a misfit of .10
DIF_COLUMNS = {
    "country": ("dif_group", "dif_delta", "dif_class"),
    "language": ("dif_language", "dif_language_delta", "dif_language_class"),
}


@dataclass(frozen=True)
class SkillAnswers:
    """What is known about one skill.

    Attributes:
        answers (frame: learner, item, course, quiz, day, category): first answers; ``day`` in days since 1970.
        completions (frame: learner, course, day): completed courses that teach the skill.
        enrollments (frame: learner, course): every course that a learner took, of any skill.
        elsewhere (frame indexed by learner: score, answers): residual score in the other skills (`OtherScores`).
        level (series, course → number): basic 1 to advanced 3; absent for courses without a level.
    """

    answers: pd.DataFrame
    completions: pd.DataFrame
    enrollments: pd.DataFrame
    elsewhere: pd.DataFrame
    level: pd.Series

    def histories(self, bank: LongitudinalBank | None = None, *, with_new: bool = False) -> Histories:
        """Answers and completions as the models take them; of a bank's items only, or with new ones behind them."""
        a = [self.answers[name] for name in ("learner", "item", "category", "course", "day")]
        c = [self.completions[name] for name in ("learner", "course", "day")]
        return histories(*a, *c) if bank is None else bank.histories(*a, *c, with_new=with_new)


class OtherScores:
    """How learners answer beside one skill: residuals of share = learner + question, summed by learner and skill."""

    def __init__(
        self, learner: np.ndarray, question: np.ndarray, skill: np.ndarray, share: np.ndarray, passes: int = 8
    ):
        """Arrays of shape (answers,): numbers from 0 of learners, questions and skills; share of the points, 0 to 1."""
        learners, questions = int(learner.max()) + 1, int(question.max()) + 1
        asked = np.maximum(np.bincount(question, minlength=questions), 1)
        weight = np.bincount(learner, minlength=learners) + LEARNER_WEIGHT
        of_learner = np.zeros(learners)
        for _ in range(passes):
            of_question = np.bincount(question, share - of_learner[learner], questions) / asked
            residual = share - of_question[question]
            of_learner = np.bincount(learner, residual, learners) / weight
        skills = int(skill.max()) + 1
        cell = learner.astype(np.int64) * skills + skill
        self.sums = np.bincount(cell, residual, learners * skills).reshape(learners, skills)
        self.counts = np.bincount(cell, minlength=learners * skills).reshape(learners, skills)

    def without(self, skill: int) -> tuple[np.ndarray, np.ndarray]:
        """Shrunken score of each learner in all skills but one, and the answers it rests on."""
        n = self.counts.sum(axis=1) - self.counts[:, skill]
        return (self.sums.sum(axis=1) - self.sums[:, skill]) / (n + LEARNER_WEIGHT), n


def covariates(skill: SkillAnswers, data: Histories) -> tuple[np.ndarray, csr_array]:
    """What says which learners take which courses: numbers by learner, and the courses that they took.

    Returns:
        dense (array of shape (persons, k)): enrolments and completions, highest level of the courses answered in, share
            of enrolments by level, score in other skills and how well it is known, mean, highest and lowest score in
            other skills of those who took the same courses.
        taken (sparse array of shape (persons, courses)): 1 where a learner took a course of at least 50 learners.
    """
    import pandas as pd
    from scipy.sparse import csr_array

    n = len(data.persons)
    persons = pd.Index(data.persons)
    took = skill.enrollments.assign(person=persons.get_indexer(skill.enrollments["learner"]))
    took = took[took["person"] >= 0].drop_duplicates(["person", "course"]).sort_values(["person", "course"])
    who = took["person"].to_numpy()
    level = took["course"].map(skill.level).fillna(0).to_numpy(int)
    count = np.bincount(who, minlength=n)
    columns = [np.log1p(count), np.minimum(np.diff(data.done_start), MOST_COUNTED)]
    highest = highest_levels(skill, data)
    for value in np.unique(skill.level.dropna()).astype(int):
        columns += [highest == value, np.bincount(who[level == value], minlength=n) / np.maximum(count, 1)]
    elsewhere = skill.elsewhere.reindex(persons).fillna(0.0)
    score, answers = elsewhere["score"].to_numpy(float), elsewhere["answers"].to_numpy(float)
    columns += [score, np.log1p(answers), _standard(score) * _standard(np.log1p(answers))]
    columns += _co_takers(who, pd.factorize(took["course"], sort=True)[0], score, answers, n)
    size = took.groupby("course", sort=True).size()
    large = size.index[size >= FEWEST_ENROLLED]
    at = large.get_indexer(took["course"])
    taken = csr_array((np.ones((at >= 0).sum()), (who[at >= 0], at[at >= 0])), shape=(n, len(large)))
    return np.column_stack(columns).astype(float), taken


def highest_levels(skill: SkillAnswers, data: Histories) -> np.ndarray:
    """Highest level of the courses that each learner answered in, 0 without one; shape (persons,)."""
    level = skill.level.reindex(data.courses).fillna(0).to_numpy(int)[data.course_of_item]
    asked = level[data.item_of_row[data.row]]
    return np.maximum.reduceat(asked, data.start[:-1]) if len(asked) else np.zeros(0, int)


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(values.std(), 1e-9)


def _co_takers(who, course, score, answers, n) -> list[np.ndarray]:
    """Mean, highest and lowest score of the other takers of each learner's courses, and whether there are none."""
    import pandas as pd

    known = answers / (answers + LEARNER_WEIGHT)
    courses = int(course.max(initial=-1)) + 1
    total, weight = np.bincount(course, score[who], courses), np.bincount(course, known[who], courses)
    others = (total[course] - score[who]) / np.maximum(weight[course] - known[who], 0.5)
    by_learner = pd.Series(others).groupby(who).agg(["mean", "max", "min"]).reindex(np.arange(n))
    filled = by_learner.fillna(by_learner.mean()).fillna(0.0)
    return [*filled.to_numpy().T, by_learner["mean"].isna().to_numpy()]


@dataclass(frozen=True)
class Scale:
    """A calibrated skill.

    Attributes:
        bank: questions of the courses on the scale; None where there is no scale.
        courses (frame: course, level, persons, answers, location, location_se, is_linked, is_on_scale, reason)
        reason: why there is no scale
        fit (frame: item, rmsd, n): of all calibrated questions
    """

    bank: LongitudinalBank | None
    courses: pd.DataFrame
    reason: str | None = None
    fit: pd.DataFrame | None = None


def build_scale(skill: SkillAnswers, *, largest_error: float = LARGEST_LOCATION_ERROR) -> Scale:
    """Calibrate a skill; courses whose location is known to ``largest_error`` sds are on the scale."""
    import pandas as pd

    answers = len(skill.answers)
    none = pd.DataFrame({"course": np.unique(skill.answers["course"].to_numpy(object))})
    none = none.assign(is_on_scale=False)
    if answers < FEWEST_ANSWERS:
        few = f"{answers} answers: a scale needs {FEWEST_ANSWERS}"
        return Scale(None, none.assign(reason=few), few)
    data = skill.histories()
    if not len(data.persons):
        alike = "every question was answered alike by everybody: nothing tells abilities apart"
        return Scale(None, none.assign(reason=alike), alike)
    dense, taken = covariates(skill, data)
    found = calibrate_longitudinal(data, skill.level, covariates=dense, taken=taken)
    courses = found.courses.copy()
    sure = courses["location_se"] <= largest_error
    courses["is_on_scale"] = sure & courses["is_linked"]
    loose = "standard error " + courses["location_se"].map("{:.2f}".format)
    loose += f" of the course's location: at most {largest_error:.2f} is needed"
    apart = "no learner answered here and in the courses on the scale"
    courses["reason"] = loose.where(courses["is_linked"], apart).astype(object).where(~courses["is_on_scale"], None)
    if not courses["is_on_scale"].any():
        best = courses["location_se"].min()
        return Scale(
            None, courses,
            f"no course can be placed among the others: the smallest standard error of a location is {best:.2f}, at "
            f"most {largest_error:.2f} is needed; more learners with answers in two courses, or a check for everybody, "
            "would bring it down",
        )  # fmt: skip
    on = found.bank.items["course"].isin(courses["course"][courses["is_on_scale"]])
    kept = replace(found.bank, items=found.bank.items[on].reset_index(drop=True))
    return Scale(replace(found, bank=kept), courses, fit=found.fit)


def extend_scale(found: LongitudinalBank, skill: SkillAnswers, on_scale) -> LongitudinalBank | None:
    """Put new questions of courses on the scale on a frozen bank; None when there are none.

    A new course waits for the next calibration: where it lies among the others is what that finds out.
    """
    a = skill.answers
    new = ~a["item"].isin(found.bank.items["item"])
    fresh = new & a["course"].isin(set(on_scale))
    varied = a[fresh].groupby("item")["category"].nunique()
    chosen = varied.index[varied > 1]
    if not len(chosen):
        return None
    # Without its answers in courses that are not on the scale: a question is of a course whose place is known.
    kept = replace(skill, answers=a[~new | (fresh & a["item"].isin(chosen))])
    return add_items(found, kept.histories(found, with_new=True))


def describe_questions(
    found: LongitudinalBank, fit: pd.DataFrame, skill: SkillAnswers, traits: pd.DataFrame
) -> pd.DataFrame:
    """Fit, local dependence and differential functioning of every question of the bank.

    Args:
        fit (frame: item, rmsd, n): from the calibration.
        traits (frame indexed by learner: country, language): functioning is compared between the three countries, and
            the three languages, with the most answers. What is common to a course's questions moves all groups alike.

    Returns:
        frame: item, course, quiz, response_count, rmsd, is_misfit, largest_residual_correlation, is_locally_dependent,
        dif_group, dif_delta, dif_class, dif_language, dif_language_delta, dif_language_class. The dif columns are those
        of the country, and the language, that differs most from the one with the most answers.
    """
    import pandas as pd

    bank = found.bank
    data = skill.histories(found)
    # A learner between two completions has one ability: that is who answers, for pairs of questions and for groups.
    number = np.repeat(np.arange(len(data.persons)), data.answers)
    sitting = np.r_[True, (np.diff(number) > 0) | (np.diff(data.before) > 0)].cumsum() - 1
    item, category = _answers_of(data)
    ability = np.repeat(found.posterior(data).moments()[0], data.answers) + found.offsets(data)
    place = skill.answers.drop_duplicates("item").set_index("item")
    # Residuals are taken around the ability of the whole history, as of the sitting.
    by_sitting = pd.Series(ability).groupby(sitting).first().to_numpy()
    pairs = residual_correlations(bank, sitting, item, category, place["quiz"], ability=by_sitting)
    both = pd.concat(
        [pairs[["item", "correlation"]], pairs[["other_item", "correlation"]].set_axis(["item", "correlation"], axis=1)]
    )
    largest = both.groupby("item")["correlation"].max()
    rmsd = fit.set_index("item")["rmsd"].reindex(bank.items["item"]).to_numpy()
    answers = bank.items["item"].map(skill.answers["item"].value_counts()).fillna(0).astype(int)
    judged = (answers >= FEWEST_TO_FIT).to_numpy() & np.isfinite(rmsd)
    out = pd.DataFrame(
        {
            "item": bank.items["item"],
            "course": bank.items["course"],
            "quiz": bank.items["item"].map(place["quiz"]),
            "response_count": answers,
            "rmsd": rmsd,
            "is_misfit": np.where(judged, rmsd > MISFIT_RMSD, np.array(None)),
            "largest_residual_correlation": bank.items["item"].map(largest),
        }
    )
    out["is_locally_dependent"] = out["largest_residual_correlation"] > LOCAL_DEPENDENCE
    learner = data.persons[number]
    for trait, names in DIF_COLUMNS.items():
        where = pd.Series(learner).map(traits[trait])
        out = out.merge(_dif(bank, sitting, item, category, where, names), on="item", how="left")
    return out


def _answers_of(data: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Labels and categories of the answers, in the order of the histories."""
    item = data.item_of_row[data.row]
    observed = np.concatenate(data.layout.observed)
    return data.items[item], observed[data.row]


def _dif(bank: ItemBank, person, item, category, where: pd.Series, names: tuple[str, str, str]) -> pd.DataFrame:
    import pandas as pd

    largest = where.value_counts().index[:LARGEST_DIF_GROUPS]
    chosen = where.isin(largest).to_numpy()
    columns = ["item", *names]
    by_item = pd.crosstab(item[chosen], where[chosen].to_numpy())
    if not ((by_item >= FEWEST_RESPONSES).sum(axis=1) >= 2).any():  # nothing that could be judged
        return pd.DataFrame(columns=columns)
    group = where[chosen].to_numpy(object)
    dif = differential_functioning(bank, person[chosen], item[chosen], category[chosen], group)
    dif = dif[dif["ets_class"].notna()]
    dif = dif.loc[dif["delta"].abs().groupby(dif["item"]).idxmax()]
    return dif[["item", "group", "delta", "ets_class"]].set_axis(columns, axis=1)
