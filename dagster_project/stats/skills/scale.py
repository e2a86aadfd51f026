"""One skill: from answers and completed courses to a scale, and from a scale to what is said about its questions.

Abilities grow. A learner's answers of several years do not have one ability behind them, and where later questions are
always answered by learners who have learned since, one ability for all makes these questions look easy and every gain
vanish. The scale is therefore calibrated on occasions (:func:`~.course_gain.occasions`): answers with no completed
course of the skill between them. Occasions differ in ability by the level of the courses and by the number of courses
completed before, which are the groups of the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.calibration import Prior, calibrate, calibrate_new_items
from dagster_project.stats.item_response.fit import (
    FEWEST_RESPONSES,
    differential_functioning,
    item_fit,
    residual_correlations,
)
from dagster_project.stats.item_response.linking import standardized
from dagster_project.stats.item_response.quadrature import QuadratureError
from dagster_project.stats.skills.course_gain import occasions
from dagster_project.stats.skills.course_links import bridged_courses

if TYPE_CHECKING:
    import pandas as pd

WINDOW_DAYS = 365  # answers of so many days before a learner's last one have one ability behind them, to score
SMALLEST_GROUP = 200  # occasions
MOST_COMPLETED = 3  # so many completed courses or more are one group
LARGEST_DIF_GROUPS = 3
DIF_COLUMNS = {
    "country": ("dif_group", "dif_delta", "dif_class"),
    "language": ("dif_language", "dif_language_delta", "dif_language_class"),
}
EVERYBODY_ELSE = "other"


@dataclass(frozen=True)
class SkillAnswers:
    """Answers to the questions of one skill.

    Attributes:
        answers (frame: learner, item, course, quiz, day, category, occasion, group): ``day`` in days since 1970;
            ``group`` of the occasion, for calibration.
        pairs, completed: as of `course_gain.occasions`, ``pairs`` with ``learner`` for person
    """

    answers: pd.DataFrame
    pairs: pd.DataFrame
    completed: pd.DataFrame

    @property
    def recent(self) -> pd.Series:
        """Whether each answer lies within a year of the learner's last one."""
        day = self.answers["day"]
        return day > day.groupby(self.answers["learner"]).transform("max") - WINDOW_DAYS

    def group_of_learner(self) -> pd.Series:
        """Group of each answer's learner: that of the learner's last occasion."""
        last = self.answers.groupby("learner")["occasion"].transform("max")
        group = self.answers.drop_duplicates("occasion").set_index("occasion")["group"]
        return last.map(group)


def arrange(answers: pd.DataFrame, completions: pd.DataFrame, level) -> SkillAnswers:
    """Put answers into occasions and groups.

    Args:
        answers: frame: learner, item, course, quiz, day, category
        completions (frame: learner, course, day): completed courses that teach the skill.
        level (mapping or series, course → number): basic 1 to advanced 3; 0 or absent for courses without a level.
    """
    import pandas as pd

    answers = answers.reset_index(drop=True)
    learner, learners = pd.factorize(answers["learner"], sort=True)
    courses = pd.Index(np.unique(np.concatenate([answers["course"], completions["course"]]).astype(object)))
    of = learners.get_indexer(completions["learner"]) if isinstance(learners, pd.Index) else None
    of = pd.Index(learners).get_indexer(completions["learner"]) if of is None else of
    done = pd.DataFrame(
        {"person": of, "course": courses.get_indexer(completions["course"]), "day": completions["day"].to_numpy()}
    )[of >= 0]
    occasion, pairs, completed = occasions(
        learner,
        courses.get_indexer(answers["course"]),
        answers["day"],
        done["person"],
        done["course"],
        done["day"],
    )
    out = answers.assign(occasion=occasion)
    by_occasion = pd.DataFrame({"learner": learner, "day": answers["day"], "occasion": occasion})
    by_occasion["level"] = answers["course"].map(pd.Series(level)).fillna(0).astype(int)
    by_occasion = by_occasion.groupby("occasion", sort=True).agg(
        learner=("learner", "first"), day=("day", "min"), level=("level", "max")
    )
    # Of the learner, not of the occasion: who sat only a skill check then is tied to others like them by this.
    by_occasion["level"] = by_occasion.groupby("learner")["level"].transform("max")
    span = 1 + int(max(answers["day"].max(), done["day"].max() if len(done) else 0))
    ends = np.sort(done["person"].to_numpy(np.int64) * span + done["day"].to_numpy(np.int64))
    begin = by_occasion["learner"].to_numpy(np.int64) * span
    so_far = np.searchsorted(ends, begin + by_occasion["day"].to_numpy(), side="right") - np.searchsorted(ends, begin)
    so_far = np.minimum(so_far, MOST_COMPLETED)
    name = (
        "level " + by_occasion["level"].astype(str) + ", completed " + pd.Series(so_far, by_occasion.index).astype(str)
    )
    name = name.where(name.groupby(name).transform("size") >= SMALLEST_GROUP, EVERYBODY_ELSE)
    size = name.value_counts()
    if size.get(EVERYBODY_ELSE, SMALLEST_GROUP) < SMALLEST_GROUP and len(size) > 1:
        name = name.replace(EVERYBODY_ELSE, size.drop(EVERYBODY_ELSE).index[0])
    out["group"] = pd.Categorical(name.reindex(occasion).to_numpy())
    named = pairs.rename(columns={"person": "learner"}).assign(learner=np.asarray(learners, object)[pairs["person"]])
    return SkillAnswers(out, named, completed.assign(course=courses[completed["course"]]))


def known_groups(bank: ItemBank, group: pd.Series) -> np.ndarray:
    """The groups' names as the bank has them; those it does not know are everybody else, or the largest group."""
    groups = bank.groups["group"].astype(str)
    fallback = EVERYBODY_ELSE if (groups == EVERYBODY_ELSE).any() else groups[bank.groups["n"].idxmax()]
    group = group.astype(object)
    return group.where(group.isin(set(groups)), fallback).to_numpy()


@dataclass(frozen=True)
class Scale:
    """A calibrated skill.

    Attributes:
        bank (ItemBank, or None where there is no scale): ability in sds from the mean of all occasions.
        courses: frame: course, learners, linking_learners, is_on_scale
        reason: why there is no scale
    """

    bank: ItemBank | None
    courses: pd.DataFrame
    reason: str | None = None


def build_scale(skill: SkillAnswers, *, fewest_learners: int = 100, nodes: int = 61) -> Scale:
    """Calibrate a skill on the courses that enough learners tie together.

    Graded response model, of which right or wrong is the case of one step. Questions with fewer than 200 answers have
    priors, with fewer than 100 the mean slope. Where ``nodes`` are too coarse, twice as many are used.
    """
    a = skill.answers
    courses = bridged_courses(a["learner"], a["course"], a["item"], fewest_learners=fewest_learners)
    on = a[a["course"].isin(courses["course"][courses["is_on_scale"]])]
    if on.empty:
        return Scale(
            None, courses, f"no course is tied to the others by {fewest_learners} learners who answered in both"
        )
    group = on["group"].astype(object)
    size = on.groupby(group)["occasion"].nunique()
    # A group that is left with a handful of occasions is estimated with the largest one.
    group = group.where(group.map(size) >= SMALLEST_GROUP / 4, size.idxmax())
    bank = None
    for grid in (nodes, 2 * nodes - 1):
        try:
            bank = calibrate(
                on["occasion"],
                on["item"],
                on["category"],
                model="graded",
                group=group.to_numpy(),
                prior=Prior(),
                nodes=grid,
            )
            break
        except QuadratureError as error:
            reason = error
        except ValueError as error:  # answers that do not determine a scale: too few, or groups that drift apart
            reason = error
            break
    if bank is None:
        return Scale(None, courses.assign(is_on_scale=False), f"the answers do not make a scale: {reason}")
    return Scale(standardized(bank), courses)


def extend_scale(bank: ItemBank, skill: SkillAnswers, *, fewest_learners: int = 100) -> ItemBank | None:
    """Put new questions of courses that are tied to the scale on a frozen bank; None when there are none."""
    a = skill.answers
    courses = bridged_courses(a["learner"], a["course"], a["item"], fewest_learners=fewest_learners)
    on = a[a["course"].isin(courses["course"][courses["is_on_scale"]]) | a["item"].isin(bank.items["item"])]
    new = ~on["item"].isin(bank.items["item"])
    if not new.any():
        return None
    # Only occasions with an answer to a known question say where the new ones lie.
    anchored = on["occasion"].isin(on["occasion"][~new])
    used = on[anchored & on["occasion"].isin(on["occasion"][new])]
    if used.empty:
        return None
    extended = calibrate_new_items(bank, used["occasion"], used["item"], used["category"], prior=Prior())
    return extended if len(extended.items) > len(bank.items) else None


def describe_questions(bank: ItemBank, skill: SkillAnswers, traits: pd.DataFrame) -> pd.DataFrame:
    """Fit, local dependence and differential functioning of every question of the bank.

    Args:
        traits (frame indexed by learner: country, language): functioning is compared between the three countries, and
            the three languages, with the most answers.

    Returns:
        frame: item, course, quiz, response_count, rmsd, is_misfit, largest_residual_correlation, is_locally_dependent,
        dif_group, dif_delta, dif_class, dif_language, dif_language_delta, dif_language_class. The dif columns are those
        of the country, and the language, that differs most from the one with the most answers.
    """
    import pandas as pd

    a = skill.answers[skill.answers["item"].isin(bank.items["item"])]
    group = known_groups(bank, a["group"])
    fit = item_fit(bank, a["occasion"], a["item"], a["category"], group=group)
    place = a.drop_duplicates("item").set_index("item")
    pairs = residual_correlations(bank, a["occasion"], a["item"], a["category"], place["quiz"], group=group)
    both = pd.concat(
        [pairs[["item", "correlation"]], pairs[["other_item", "correlation"]].set_axis(["item", "correlation"], axis=1)]
    )
    largest = both.groupby("item")["correlation"].max()
    out = pd.DataFrame(
        {
            "item": fit["item"],
            "course": fit["item"].map(place["course"]),
            "quiz": fit["item"].map(place["quiz"]),
            "response_count": fit["n"],
            "rmsd": fit["rmsd"],
            "is_misfit": fit["is_misfit"],
            "largest_residual_correlation": fit["item"].map(largest),
        }
    )
    out["is_locally_dependent"] = out["largest_residual_correlation"] > 0.2
    for trait, names in DIF_COLUMNS.items():
        out = out.merge(_dif(bank, a, a["learner"].map(traits[trait]), names), on="item", how="left")
    return out


def _dif(bank: ItemBank, a: pd.DataFrame, where: pd.Series, names: tuple[str, str, str]) -> pd.DataFrame:
    import pandas as pd

    largest = where.value_counts().index[:LARGEST_DIF_GROUPS]
    chosen = where.isin(largest)
    columns = ["item", *names]
    b = a[chosen]
    by_item = pd.crosstab(b["item"], where[chosen])
    if not ((by_item >= FEWEST_RESPONSES).sum(axis=1) >= 2).any():  # nothing that could be judged
        return pd.DataFrame(columns=columns)
    dif = differential_functioning(bank, b["occasion"], b["item"], b["category"], where[chosen].to_numpy(object))
    dif = dif[dif["ets_class"].notna()]
    dif = dif.loc[dif["delta"].abs().groupby(dif["item"]).idxmax()]
    return dif[["item", "group", "delta", "ets_class"]].set_axis(columns, axis=1)
