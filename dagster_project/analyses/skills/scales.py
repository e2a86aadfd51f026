"""One skill of one source: its answers from the marts, and its item bank, frozen from day to day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dagster_project.analyses.skills.banks import StoredBank, latest_bank, save_bank, unused_version
from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.linking import Link, link
from dagster_project.stats.item_response.longitudinal_bank import NODES, LongitudinalBank, on_scale
from dagster_project.stats.skills.scale import (
    OtherScores,
    Scale,
    SkillAnswers,
    build_scale,
    describe_questions,
    extend_scale,
)
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


RECALIBRATED_AFTER = timedelta(days=30)
LEVELS = {"basic": 1, "intermediate": 2, "advanced": 3}
MODEL = "graded"
FEWEST_ANCHORS = 20
SMALLEST_ANCHORS = 5  # of a bank with few questions


class Skill(NamedTuple):
    """A skill of one source; `as_of` is the last day of the source's data."""

    source: str
    skill_key: str
    as_of: date


class People(NamedTuple):
    """What is known of learners and courses beside their answers.

    Attributes:
        traits: frame indexed by learner: country, and the language of most courses that the learner took.
        organization: series, learner → main employer.
        level_of_course: series, course → 1 basic to 3 advanced.
    """

    traits: pd.DataFrame
    organization: pd.Series
    level_of_course: pd.Series


class Choices:
    """What learners took, and how they answer in other skills: read when a skill is calibrated, once for all."""

    def __init__(self, store: Warehouse):
        self._store, self._lock, self._sources = store, Lock(), {}

    def of(self, skill: Skill) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Enrolments (learner, course), and scores in other skills (indexed by learner: score, answers)."""
        import pandas as pd

        with self._lock:
            if skill.source not in self._sources:
                self._sources[skill.source] = self._read(skill.source)
        enrollments, learners, skills, scores = self._sources[skill.source]
        score, answers = scores.without(skills.get_loc(skill.skill_key))
        return enrollments, pd.DataFrame({"score": score, "answers": answers}, index=learners)

    def _read(self, source: str):
        import pandas as pd

        where = f"where source = {literal(source)}"
        enrollments = _frame(
            self._store,
            "select distinct learner_key as learner, course_key as course from core.fct_course_enrollment "
            f"{where} order by learner_key, course_key",
            ["learner", "course"],
        )
        numbers = ["learner", "question", "skill", "share"]
        # Numbers instead of labels; in an order of their own, as sums of floats depend on it.
        answers = _frame(
            self._store,
            "select dense_rank() over (order by learner_key) - 1 as learner, "
            "dense_rank() over (order by question_key) - 1 as question, "
            "dense_rank() over (order by skill_key) - 1 as skill, cast(score_share as double) as share "
            f"from marts.mart_skill_response {where} order by learner, question, skill",
            numbers,
        )
        learners, skills = (
            pd.Index(
                _frame(
                    self._store, f"select distinct {key} from marts.mart_skill_response {where} order by {key}", [key]
                )[key]
            )
            for key in ("learner_key", "skill_key")
        )
        return enrollments, learners, skills, OtherScores(*(answers[name].to_numpy() for name in numbers))


def read_people(store: Warehouse) -> People:
    """Traits, employers and course levels of all sources."""
    traits = _frame(
        store,
        "select learners.learner_key, learners.country, languages.language from core.dim_learner as learners "
        "left join features.feature_learner_languages as languages "
        "on learners.learner_key = languages.learner_key order by learners.learner_key",
        ["learner_key", "country", "language"],
    )
    members = store.read("marts.mart_organization_member", ["learner_key", "organization_key"], where="is_main")
    levels = store.read("core.dim_course", ["course_key", "level"]).set_index("course_key")["level"].map(LEVELS)
    return People(
        traits.set_index("learner_key"), members.set_index("learner_key")["organization_key"], levels.dropna()
    )


def skills_with_answers(store: Warehouse) -> list[Skill]:
    """Skills with answers, those with the most first, each with the last day of its source's data."""
    query = (
        "select responses.source, responses.skill_key, "
        "coalesce(any_value(sources.last_data_on), max(responses.answered_on)) as as_of "
        "from marts.mart_skill_response as responses "
        "left join core.dim_source as sources on responses.source = sources.source "
        "group by responses.source, responses.skill_key order by count(*) desc, responses.source, responses.skill_key"
    )
    return [Skill(**row) for batch in store.batches(query) for row in batch.to_pylist()]


def read_skill(store: Warehouse, skill: Skill, level_of_course: pd.Series) -> SkillAnswers:
    """A skill's answers and completions, by learner and question: sums of floats depend on where an answer stands.

    Without what learners chose, which only a calibration asks for (`Choices`).
    """
    import numpy as np
    import pandas as pd

    labels = ["learner", "item", "course"]
    answers = _frame(
        store,
        "select learner_key as learner, question_key as item, course_key as course, item_id as quiz, "
        "answered_on - date '1970-01-01' as day, category from marts.mart_skill_response "
        f"where source = {literal(skill.source)} and skill_key = {literal(skill.skill_key)}",
        [*labels, "quiz", "day", "category"],
    )
    # Numbered once, and put in order by their numbers: the engine takes eight times as long to sort the texts.
    answers[labels] = answers[labels].apply(pd.Categorical)
    order = np.lexsort([answers[name].cat.codes for name in ("item", "learner")])
    answers = answers.iloc[order].reset_index(drop=True)
    completions = _frame(
        store,
        "select learner_key as learner, course_key as course, learned_on - date '1970-01-01' as day "
        "from features.feature_completed_skill_courses "
        f"where skill_key = {literal(skill.skill_key)} and outcome_known_on <= date {literal(skill.as_of.isoformat())} "
        "order by learner_key, course_key, learned_on",
        ["learner", "course", "day"],
    )
    nobody = pd.DataFrame({"learner": [], "course": []}), pd.DataFrame({"score": [], "answers": []})
    return SkillAnswers(answers, completions, *nobody, level_of_course)


def _frame(store: Warehouse, query: str, columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    parts = [batch.to_pandas() for batch in store.batches(query)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def bring_up_to_date(
    settings: Settings, skill: Skill, answers: SkillAnswers, people: People, choices: Choices
) -> StoredBank:
    """The bank to score with: the frozen one, extended by new questions, recalibrated and linked after a month."""
    old = latest_bank(settings, skill.source, skill.skill_key, skill.as_of)
    if old is None or skill.as_of - old.calibrated_on >= RECALIBRATED_AFTER or _is_of_another_model(old):
        enrollments, elsewhere = choices.of(skill)
        known = replace(answers, enrollments=enrollments, elsewhere=elsewhere)
        new = _calibrate(settings, skill, known, people, old)
    elif skill.as_of > old.known_on and (extended := _extend(skill, answers, people, old)):
        new = extended
    else:
        return old
    save_bank(settings, skill.source, skill.skill_key, new)
    return new


def _is_of_another_model(stored: StoredBank) -> bool:
    """Whether a scale was calibrated before abilities grew on it."""
    return "groups" in stored.frames and "gains" not in stored.frames


def to_item_bank(stored: StoredBank) -> ItemBank | None:
    """The questions on the scale as the statistics know them; None where the skill has no scale."""
    if "groups" not in stored.frames:
        return None
    items = stored.frames["items"]
    parameters = items.columns[
        items.columns.str.fullmatch(r"item|course|n|slope(_se)?|intercept_\d+(_se)?|slope_intercept_\d+_cov")
    ]
    usable = items[items["slope"].notna()]
    return ItemBank(usable[list(parameters)].reset_index(drop=True), stored.frames["groups"], MODEL, stored.nodes)


def to_bank(stored: StoredBank) -> LongitudinalBank | None:
    """The bank as the statistics know it; None where the skill has no scale."""
    items = to_item_bank(stored)
    if items is None:
        return None
    frames = stored.frames
    return LongitudinalBank(
        items, frames["courses"], frames["gains"], frames["covariance"].to_numpy(float), stored.facts.get("model", {})
    )


def _to_frames(bank: LongitudinalBank, scale: Scale) -> dict[str, pd.DataFrame]:
    import pandas as pd

    covariance = pd.DataFrame(bank.covariance).rename(columns=str)
    told = scale.courses[["course", "is_on_scale", "reason"]]
    return {
        "groups": bank.bank.groups,
        "courses": bank.courses.merge(told, on="course", how="left"),
        "gains": bank.gains,
        "covariance": covariance,
    }


def _calibrate(
    settings: Settings, skill: Skill, answers: SkillAnswers, people: People, old: StoredBank | None
) -> StoredBank:
    import pandas as pd

    scale = build_scale(answers, largest_error=settings.largest_course_error)
    version = unused_version(settings, skill.source, skill.skill_key, skill.as_of)
    facts: dict = {"reason": None}
    bank = scale.bank
    if bank is None or scale.fit is None:
        facts["reason"] = scale.reason
        frames = {"courses": scale.courses}
        frames["items"] = _all_questions(answers, scale.courses, pd.DataFrame({"item": [], "slope": []}), None)
        return StoredBank(version, skill.as_of, skill.as_of, NODES, facts, frames)
    old_bank = to_item_bank(old) if old else None
    anchors = None
    if old is not None and old_bank is not None:
        try:
            linked = _link(bank.bank, old_bank)
        except ValueError as error:
            # Abilities on two scales would look comparable: the old scale stays until somebody decides.
            if _is_of_another_model(old):
                facts["reason"] = f"not comparable with the abilities before {version}: {error}"
            else:
                return StoredBank(
                    version, skill.as_of, skill.as_of, old.nodes, old.facts | {"reason": str(error)}, old.frames
                )
        else:
            bank, anchors = on_scale(bank, linked.scale, linked.shift), linked.anchors
            facts |= {
                "anchor_count": len(linked.anchors),
                "moved_anchor_share": float((~linked.anchors["is_used"]).mean()),
                "link_scale": linked.scale,
                "link_shift": linked.shift,
            }
    facts |= {"iterations": bank.facts["passes"], "log_likelihood": bank.facts["log_likelihood"]}
    facts |= {"has_converged": bank.facts["converged"], "model": bank.facts}
    frames = _to_frames(bank, scale)
    if anchors is not None:
        frames["anchors"] = anchors
    described = bank.bank.items.drop(columns="course").merge(
        describe_questions(bank, scale.fit, answers, people.traits), on="item"
    )
    described = described.merge(bank.bank.mean_difficulties(), on="item").assign(status="calibrated")
    frames["items"] = _all_questions(answers, frames["courses"], described, bank)
    return StoredBank(version, skill.as_of, skill.as_of, bank.bank.nodes, facts, frames)


def _link(new: ItemBank, old: ItemBank) -> Link:
    """Few questions are linked by few: a small bank by half of those that it had."""
    fewest = min(FEWEST_ANCHORS, max(SMALLEST_ANCHORS, len(old.items) // 2))
    return link(new, old, fewest_anchors=fewest)


def _extend(skill: Skill, answers: SkillAnswers, people: People, old: StoredBank) -> StoredBank | None:
    import pandas as pd

    bank = to_bank(old)
    if bank is None:
        return None
    courses = old.frames["courses"]
    extended = extend_scale(bank, answers, courses["course"][courses["is_on_scale"]])
    if extended is None:
        return None
    items = extended.bank.items
    new = ~items["item"].isin(bank.bank.items["item"])
    fit = pd.DataFrame({"item": items["item"], "rmsd": np.nan})  # few answers so far; the next calibration tells
    described = (
        items[new].drop(columns="course").merge(describe_questions(extended, fit, answers, people.traits), on="item")
    )
    described = described.merge(extended.bank.mean_difficulties(), on="item").assign(status="added")
    known = old.frames["items"][~old.frames["items"]["item"].isin(described["item"])]
    merged = pd.concat([known, described], ignore_index=True).sort_values("item", ignore_index=True)
    number = int(old.version.partition(".")[2] or 0) + 1
    version = f"{old.version.partition('.')[0]}.{number}"
    return StoredBank(version, old.calibrated_on, skill.as_of, old.nodes, old.facts, {**old.frames, "items": merged})


def _all_questions(
    answers: SkillAnswers, courses: pd.DataFrame, described: pd.DataFrame, bank: LongitudinalBank | None
) -> pd.DataFrame:
    """The described questions, and those without parameters with the reason."""
    import pandas as pd

    a = answers.answers
    place = a.groupby("item", sort=True).agg(course=("course", "first"), quiz=("quiz", "first"), n=("day", "size"))
    rest = place[~place.index.isin(described["item"])].reset_index().rename(columns={"n": "response_count"})
    known = courses.set_index("course")
    on_scale = rest["course"].map(known["is_on_scale"]).fillna(False).astype(bool)
    why = {}
    if bank is not None and bank.report is not None:
        lines = bank.report[bank.report["subject"] == "item"]
        why = dict(zip(lines["label"], lines["reason"], strict=True))
    of_course = rest["course"].map(known["reason"]) if "reason" in known else pd.Series(None, rest.index, object)
    rest["status"] = np.where(on_scale, "left out", "separate scale")
    rest["reason"] = [
        why.get(item, reason if isinstance(reason, str) else None)
        for item, reason in zip(rest["item"], of_course, strict=True)
    ]
    return pd.concat([described, rest], ignore_index=True).sort_values("item", ignore_index=True)


def _misfit_share(items: pd.DataFrame) -> float | None:
    """Share of the answers to questions with enough of them that are to misfitting ones."""
    judged = items[items["is_misfit"].notna()] if len(items) else items
    if not len(judged) or not judged["response_count"].sum():
        return None
    misfit = judged["is_misfit"].astype(bool)
    return float(judged.loc[misfit, "response_count"].sum() / judged["response_count"].sum())


def scale_row(skill: Skill, stored: StoredBank) -> dict:
    """The row of analytics.skill_scales."""
    import pandas as pd

    items, courses = stored.frames["items"], stored.frames["courses"]
    on = courses[courses["is_on_scale"]]
    usable = items[items["slope"].notna()]
    n = usable["response_count"] if "response_count" in usable else pd.Series(dtype=float)
    facts = json.loads(json.dumps(stored.facts))
    return {
        "source": skill.source,
        "skill_key": skill.skill_key,
        "as_of": skill.as_of,
        "bank_version": stored.version if len(usable) else None,
        "calibrated_on": stored.calibrated_on if len(usable) else None,
        "course_count": len(courses),
        "scale_course_count": len(on),
        "largest_course_error": float(on["location_se"].max()) if len(on) else None,
        "median_course_error": float(on["location_se"].median()) if len(on) else None,
        "question_count": len(usable),
        "response_count": int(n.sum()),
        "iteration_count": facts.get("iterations"),
        "log_likelihood": facts.get("log_likelihood"),
        "has_converged": facts.get("has_converged"),
        "mean_course_gain": facts.get("model", {}).get("gain_mean"),
        "course_gain_sd": facts.get("model", {}).get("gain_sd"),
        "misfit_share": _misfit_share(usable),
        "anchor_count": facts.get("anchor_count"),
        "moved_anchor_share": facts.get("moved_anchor_share"),
        "link_scale": facts.get("link_scale"),
        "link_shift": facts.get("link_shift"),
        "reason": facts.get("reason"),
    }
