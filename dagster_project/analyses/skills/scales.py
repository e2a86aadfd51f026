"""One skill of one source: its answers from the marts, and its item bank, frozen from day to day."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dagster_project.analyses.skills.banks import StoredBank, latest_bank, save_bank
from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.linking import link
from dagster_project.stats.skills.scale import SkillAnswers, arrange, build_scale, describe_questions, extend_scale
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


RECALIBRATED_AFTER = timedelta(days=30)
LEVELS = {"basic": 1, "intermediate": 2, "advanced": 3}
MODEL = "graded"
NODES = 49  # to score a year's answers: spacing .25 is enough for posterior sds from .19
CALIBRATION_NODES = 33  # an occasion has few answers: enough for .29, and the calibration checks it


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
    """A skill's answers, arranged: half a second for 100,000 of them.

    By learner and question: sums of floats and ties depend on where an answer stands, and a table's rows stand in no
    order.
    """
    answers = _frame(
        store,
        "select learner_key as learner, question_key as item, course_key as course, item_id as quiz, "
        "answered_on - date '1970-01-01' as day, category from marts.mart_skill_response "
        f"where source = {literal(skill.source)} and skill_key = {literal(skill.skill_key)} "
        "order by learner_key, question_key",
        ["learner", "item", "course", "quiz", "day", "category"],
    )
    completions = _frame(
        store,
        "select learner_key as learner, course_key as course, outcome_known_on - date '1970-01-01' as day "
        "from features.feature_completed_skill_courses "
        f"where skill_key = {literal(skill.skill_key)} and outcome_known_on <= date {literal(skill.as_of.isoformat())} "
        "order by learner_key, course_key, outcome_known_on",
        ["learner", "course", "day"],
    )
    return arrange(answers, completions, level_of_course)


def _frame(store: Warehouse, query: str, columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    parts = [batch.to_pandas() for batch in store.batches(query)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def bring_up_to_date(settings: Settings, skill: Skill, answers: SkillAnswers, people: People) -> StoredBank:
    """The bank to score with: the frozen one, extended by new questions, recalibrated and linked after a month."""
    old = latest_bank(settings, skill.source, skill.skill_key, skill.as_of)
    if old is None:
        new = _calibrate(settings, skill, answers, people, None)
    elif skill.as_of - old.calibrated_on >= RECALIBRATED_AFTER:
        new = _calibrate(settings, skill, answers, people, old)
    elif skill.as_of > old.known_on and (extended := _extend(settings, skill, answers, people, old)):
        new = extended
    else:
        return old
    save_bank(settings, skill.source, skill.skill_key, new)
    return new


def to_bank(stored: StoredBank) -> ItemBank | None:
    """The bank as the statistics know it; None where the skill has no scale."""
    if "groups" not in stored.frames:
        return None
    items = stored.frames["items"]
    parameters = items.columns[
        items.columns.str.fullmatch(r"item|n|slope(_se)?|intercept_\d+(_se)?|slope_intercept_\d+_cov")
    ]
    usable = items[items["slope"].notna()]
    return ItemBank(usable[list(parameters)].reset_index(drop=True), stored.frames["groups"], MODEL, NODES)


def _calibrate(
    settings: Settings, skill: Skill, answers: SkillAnswers, people: People, old: StoredBank | None
) -> StoredBank:
    import pandas as pd

    scale = build_scale(answers, fewest_learners=settings.minimum_linking_learners, nodes=CALIBRATION_NODES)
    version = skill.as_of.isoformat()
    frames: dict[str, pd.DataFrame] = {"courses": scale.courses}
    facts: dict = {"reason": None}
    old_bank = to_bank(old) if old else None
    if scale.bank is None:
        facts["reason"] = scale.reason
        frames["items"] = _all_questions(answers, scale.courses, pd.DataFrame({"item": [], "slope": []}), None)
        return StoredBank(version, skill.as_of, skill.as_of, facts, frames)
    bank = scale.bank
    facts |= {
        "iterations": bank.iterations,
        "log_likelihood": bank.log_likelihood,
        "log_likelihood_left": bank.log_likelihood_left,
    }
    if old is not None and old_bank is not None:
        try:
            linked = link(bank, old_bank)
        except ValueError as error:
            # Abilities on two scales would look comparable: the old scale stays until somebody decides.
            return StoredBank(version, skill.as_of, skill.as_of, old.facts | {"reason": str(error)}, old.frames)
        bank, frames["anchors"] = linked.bank, linked.anchors
        facts |= {
            "anchor_count": len(linked.anchors),
            "moved_anchor_share": float((~linked.anchors["is_used"]).mean()),
            "link_scale": linked.scale,
            "link_shift": linked.shift,
        }
    described = bank.items.merge(describe_questions(bank, answers, people.traits), on="item")
    described = described.merge(_difficulty(bank), on="item").assign(status="calibrated")
    frames["items"] = _all_questions(answers, scale.courses, described, bank)
    frames["groups"] = bank.groups
    return StoredBank(version, skill.as_of, skill.as_of, facts, frames)


def _extend(
    settings: Settings, skill: Skill, answers: SkillAnswers, people: People, old: StoredBank
) -> StoredBank | None:
    import pandas as pd

    bank = to_bank(old)
    if bank is None:
        return None
    extended = extend_scale(bank, answers, fewest_learners=settings.minimum_linking_learners)
    if extended is None:
        return None
    new = ~extended.items["item"].isin(bank.items["item"])
    described = extended.items[new].merge(describe_questions(extended, answers, people.traits), on="item")
    described = described.merge(_difficulty(extended), on="item").assign(status="added")
    known = old.frames["items"][~old.frames["items"]["item"].isin(described["item"])]
    items = pd.concat([known, described], ignore_index=True).sort_values("item", ignore_index=True)
    number = int(old.version.partition(".")[2] or 0) + 1
    version = f"{old.version.partition('.')[0]}.{number}"
    return StoredBank(version, old.calibrated_on, skill.as_of, old.facts, {**old.frames, "items": items})


def _difficulty(bank: ItemBank) -> pd.DataFrame:
    import pandas as pd

    by_step = bank.difficulties()
    steps = by_step.filter(regex=r"^difficulty_\d+$")
    return pd.DataFrame(
        {"item": by_step["item"], "difficulty": steps.mean(axis=1), "difficulty_se": by_step["difficulty_1_se"]}
    )


def _all_questions(
    answers: SkillAnswers, courses: pd.DataFrame, described: pd.DataFrame, bank: ItemBank | None
) -> pd.DataFrame:
    """The described questions, and those without parameters with the reason."""
    import pandas as pd

    a = answers.answers
    place = a.groupby("item", sort=True).agg(course=("course", "first"), quiz=("quiz", "first"), n=("day", "size"))
    rest = place[~place.index.isin(described["item"])].reset_index().rename(columns={"n": "response_count"})
    on_scale = rest["course"].isin(courses["course"][courses["is_on_scale"]])
    linking = rest["course"].map(courses.set_index("course")["linking_learners"])
    why = {}
    if bank is not None:
        lines = bank.report[bank.report["subject"] == "item"]
        why = dict(zip(lines["label"], lines["reason"], strict=True))
    rest["status"] = np.where(on_scale, "left out", "separate scale")
    rest["reason"] = [
        why.get(item) if on else f"{int(n)} learners tie its course to the scale"
        for item, on, n in zip(rest["item"], on_scale, linking, strict=True)
    ]
    return pd.concat([described, rest], ignore_index=True).sort_values("item", ignore_index=True)


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
        "smallest_link_count": int(on["linking_learners"].min()) if len(on) else None,
        "question_count": len(usable),
        "response_count": int(n.sum()),
        "iteration_count": facts.get("iterations"),
        "log_likelihood": facts.get("log_likelihood"),
        "log_likelihood_left": facts.get("log_likelihood_left"),
        "misfit_share": float(n[usable["is_misfit"].fillna(False).astype(bool)].sum() / n.sum()) if n.sum() else None,
        "anchor_count": facts.get("anchor_count"),
        "moved_anchor_share": facts.get("moved_anchor_share"),
        "link_scale": facts.get("link_scale"),
        "link_shift": facts.get("link_shift"),
        "reason": facts.get("reason"),
    }
