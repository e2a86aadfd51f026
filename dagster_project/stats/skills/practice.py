"""Which questions tell most about what a learner can do, while no question goes to too many learners.

Questions by maximum posterior-weighted information (van der Linden 1998, Psychometrika 63, 201-216); a question's
exposure is held down by its probability of being eligible (van der Linden & Veldkamp 2004, Journal of Educational and
Behavioral Statistics 29, 273-291), and a course gives a few questions at most (content balance).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

QUESTIONS = 5
MOST_EXPOSED = 0.20  # share of the learners to whom one question may go
FEWEST_EXPOSED = 10  # learners to whom it may go in any case
MOST_OF_COURSE = 2
CANDIDATES = 128  # looked at for a learner, by information
ADJUSTMENTS = 20  # of the eligibility in both directions
NODES = 15  # of a learner's ability distribution
LOWEST, HIGHEST, SPACING = -10.0, 10.0, 0.02  # abilities at which information is tabulated
_TURN = np.uint64(0x9E3779B97F4A7C15)


class NextQuestions(NamedTuple):
    """Questions by learner, and how often each question was chosen.

    Attributes:
        rows (frame: learner, rank, question, course, information, expected_std_error, exposure_share): ascending by
            learner and rank, which runs from 1 without holes.
        exposure (frame: question, learners, share): of every question, chosen or not.
        fewer: learners who have fewer questions than were asked for.
        information_share: information of the questions chosen ÷ that of those chosen without a limit of exposure.
    """

    rows: pd.DataFrame
    exposure: pd.DataFrame
    fewer: int
    information_share: float


def exposure_limit(learners: int) -> int:
    """Most learners to whom one question may go."""
    return max(FEWEST_EXPOSED, int(MOST_EXPOSED * learners))


def fit_to_ask(items: pd.DataFrame) -> pd.Series:
    """Which questions are good enough to be asked for practice.

    On the scale with a positive slope, fitting, no neighbour of the quiz giving them away, of equal difficulty for
    learners of all countries and languages (ETS class C is not), and where it was when the bank was last linked.

    Args:
        items: rows of analytics.skill_items.
    """
    is_bad = ~items["is_anchor"].fillna(True).astype(bool)
    for name in ("dif_class", "dif_language_class"):
        is_bad |= items[name].fillna("").eq("C").astype(bool)
    for name in ("is_misfit", "is_locally_dependent"):
        is_bad |= items[name].fillna(False).astype(bool)
    return items["slope"].gt(0).fillna(False).astype(bool) & ~is_bad


def shrink_slopes(items: pd.DataFrame) -> pd.DataFrame:
    """Questions with slopes drawn towards the middle of all by their errors; difficulties stay.

    The most informative questions are else those whose slope was overestimated (van der Linden & Glas 2000, Applied
    Measurement in Education 13, 35-53). A slope without an error gets the middle.

    Args:
        items (frame: slope, slope_se, intercept_1 …): slopes are positive.
    """
    slope = items["slope"].to_numpy(float)
    logarithm, error = np.log(slope), items["slope_se"].to_numpy(float) / slope
    known = np.isfinite(error) & (error > 0)
    if not known.any():
        return items
    middle, variance = _middle(logarithm[known], error[known] ** 2)
    weight = np.zeros(len(items))
    weight[known] = variance / (variance + error[known] ** 2)
    factor = np.exp(middle + weight * (logarithm - middle)) / slope
    scaled = ["slope", *items.filter(regex=r"^intercept_\d+$").columns]
    return items.assign(**{name: items[name].to_numpy(float) * factor for name in scaled})


def _middle(value: np.ndarray, error_variance: np.ndarray) -> tuple[float, float]:
    """Mean of true values, and their variance, from values with errors (Paule & Mandel 1982)."""
    low, high = 0.0, float(np.var(value)) * 2.0
    for _ in range(50):
        variance = (low + high) / 2
        weight = 1.0 / (variance + error_variance)
        mean = float(np.average(value, weights=weight))
        is_wider = weight @ (value - mean) ** 2 > len(value) - 1
        low, high = (variance, high) if is_wider else (low, variance)
    return mean, variance


def question_information(slope, steps, ability) -> np.ndarray:
    """Fisher information of questions at abilities: the sum over categories of P'² ÷ P (Samejima 1969).

    Args:
        slope (array of shape (questions,)), steps (array of shape (questions, steps), NaN: none): P(category or higher)
            = 1 / (1 + exp(-(slope × ability + step))).
        ability (array of shape (k,))

    Returns:
        array of shape (k, questions)
    """
    slope, (steps, count) = np.asarray(slope, float), _descending(steps)
    ability = np.asarray(ability, float)[:, None]
    total = np.zeros((len(ability), len(slope)))
    reached, slant = np.ones_like(total), np.zeros_like(total)
    for c in range(steps.shape[1] + 1):
        above, steepness = np.zeros_like(total), np.zeros_like(total)
        if c < steps.shape[1]:
            real = c < count
            with np.errstate(over="ignore"):
                above[:, real] = 1.0 / (1.0 + np.exp(-(slope[real] * ability + steps[real, c])))
            steepness = slope * above * (1.0 - above)
        chance = reached - above
        total += np.divide((slant - steepness) ** 2, chance, out=np.zeros_like(total), where=chance > 0)
        reached, slant = above, steepness
    return total


def next_questions(
    abilities: pd.DataFrame, questions: pd.DataFrame, answers: pd.DataFrame, *, count: int = QUESTIONS
) -> NextQuestions:
    """The questions that every learner should answer next.

    The draws of the exposure control follow from what a learner answered, not from the learner's key or the order of
    rows: only among learners with equal answers does the key decide.

    Args:
        abilities (frame: learner, ability, std_error): one row a learner.
        questions (frame: question, content, course, slope, intercept_1 …): that may be asked; ``content`` is the same
            for all versions of a question.
        answers (frame: learner, content, category): of these learners, whatever they answered in the skill.
        count: of questions for each learner.
    """
    import pandas as pd

    from dagster_project.stats.skills import practice_kernels as kernels

    abilities = abilities.sort_values("learner", ignore_index=True)
    questions = questions.sort_values("question", ignore_index=True)
    learners, size = len(abilities), len(questions)
    mean, sd = (abilities[name].to_numpy(float) for name in ("ability", "std_error"))
    slope = questions["slope"].to_numpy(float)
    steps = questions.filter(regex=r"^intercept_\d+$").to_numpy(float)
    course = pd.factorize(questions["course"])[0]
    learner = pd.Categorical(answers["learner"], categories=abilities["learner"]).codes.astype(np.int64)
    contents, content = _contents(answers["content"])
    learner_hash = _learner_hashes(learners, learner, contents, content, answers["category"].to_numpy(np.int64))
    start, answered = _answered(learners, questions["content"], learner, contents, content)

    candidate = np.empty((learners, min(CANDIDATES, size)), np.int32)
    chosen = np.full((learners, count), -1, np.int32)
    exposure = np.zeros(size, np.int64)
    unlimited = 0.0
    if learners and size:
        grid = np.arange(LOWEST, HIGHEST + SPACING / 2, SPACING)
        table = question_information(slope, steps, grid)
        kernels.rank_candidates(mean, sd, *_normal(), LOWEST, SPACING, table, start, answered, candidate)
        question_hash = _hashes(questions["question"])
        most_of_course = max(MOST_OF_COURSE, -(-count // (course.max() + 1)))

        def choose(eligible: np.ndarray) -> None:
            kernels.choose(candidate, learner_hash, question_hash, eligible, course, most_of_course, chosen, exposure)

        choose(np.ones(size))
        unlimited = _describe(chosen, mean, sd, slope, steps)[2].sum()
        _limit_exposure(choose, exposure, exposure_limit(learners))
    who, which, information, std_error = _describe(chosen, mean, sd, slope, steps)
    share = exposure / max(learners, 1)
    rows = pd.DataFrame(
        {
            "learner": abilities["learner"].to_numpy()[who],
            "rank": np.arange(len(who)) - np.searchsorted(who, who) + 1,
            "question": questions["question"].to_numpy()[which],
            "course": questions["course"].to_numpy()[which],
            "information": information,
            "expected_std_error": std_error,
            "exposure_share": share[which],
        }
    )
    return NextQuestions(
        rows,
        pd.DataFrame({"question": questions["question"], "learners": exposure, "share": share}),
        int((chosen < 0).any(axis=1).sum()),
        float(information.sum() / unlimited) if unlimited else 1.0,
    )


def _normal() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the standard normal distribution."""
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    return node, weight / weight.sum()


def _describe(chosen: np.ndarray, mean, sd, slope, steps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of every choice: learner, question, information, and the standard error to expect after the answer."""
    from dagster_project.stats.skills import practice_kernels as kernels

    who, place = np.nonzero(chosen >= 0)
    which = chosen[who, place].astype(np.int64)
    information, std_error = np.empty(len(who)), np.empty(len(who))
    ordered, step_count = _descending(steps)
    kernels.describe(who, which, mean, sd, *_normal(), slope, ordered, step_count, information, std_error)
    return who, which, information, std_error


def _limit_exposure(choose, exposure: np.ndarray, limit: int) -> None:
    """Adjust how often each question is eligible until none is chosen for more than ``limit`` learners.

    First as van der Linden & Veldkamp do from one group of learners to the next, up and down, with the same learners
    and the same draws; then down only, until the limit holds exactly.
    """
    eligible = np.ones(len(exposure))
    if not (exposure > limit).any():
        return
    for _ in range(ADJUSTMENTS):
        eligible = np.minimum(1.0, eligible * limit / np.maximum(exposure, 1))
        choose(eligible)
    while (over := exposure > limit).any():
        eligible[over] *= 0.999 * limit / exposure[over]
        choose(eligible)


def _descending(steps) -> tuple[np.ndarray, np.ndarray]:
    """Steps of each question from the lowest category to the highest, those that it does not have last; how many."""
    steps = np.asarray(steps, float)
    return -np.sort(-steps, axis=1), np.isfinite(steps).sum(axis=1)


def _hashes(texts) -> np.ndarray:
    return np.array(
        [int.from_bytes(hashlib.blake2b(str(x).encode(), digest_size=8).digest()) for x in texts], np.uint64
    )


def _contents(content: pd.Series) -> tuple[pd.Index, np.ndarray]:
    """Distinct contents, and of each answer the place of its own."""
    import pandas as pd

    codes, distinct = pd.factorize(content)
    return pd.Index(distinct), codes


def _learner_hashes(
    learners: int, learner: np.ndarray, contents: pd.Index, content: np.ndarray, category: np.ndarray
) -> np.ndarray:
    """A hash of every learner's answers, in whatever order; of equal ones the second is another than the first."""
    import pandas as pd

    of_content = _hashes(contents)
    of_answer = (of_content[content] + (category + 1).astype(np.uint64) * _TURN) * (_TURN | np.uint64(2))
    of_answer ^= of_answer >> np.uint64(29)
    found = np.zeros(learners, np.uint64)
    np.add.at(found, learner, of_answer)
    return found + pd.Series(found).groupby(found).cumcount().to_numpy().astype(np.uint64) * _TURN


def _answered(
    learners: int, questions: pd.Series, learner: np.ndarray, contents: pd.Index, content: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the questions of which each learner has answered some version: where their own begin, and which."""
    import pandas as pd

    place = pd.Index(questions).get_indexer(contents)[content] if len(contents) else np.empty(0, np.int64)
    kept = place >= 0
    learner, place = learner[kept], place[kept]
    order = np.argsort(learner, kind="stable")
    return np.searchsorted(learner[order], np.arange(learners + 1)), place[order].astype(np.int64)
