"""What is said with one skill's scale: rows of its tables, from its answers and its frozen bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dagster_project.analyses.skills.banks import StoredBank
from dagster_project.analyses.skills.scales import People, Skill, scale_row, to_bank
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.stats.item_response.abilities import (
    AbilityLikelihood,
    ability_likelihood,
    expected_percentiles,
    group_posterior,
)
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.skills.benchmarks import benchmark, due_organizations
from dagster_project.stats.skills.course_gain import course_gains
from dagster_project.stats.skills.scale import SkillAnswers, known_groups
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


LARGEST_ERROR = 0.5  # of an ability that is shown
FEWEST_ITEMS = 5
FEWEST_TAKERS_SHOWN = 10
SHORT_WINDOW_DAYS = 90
FIGURES = ["ability", "std_error", "percentile", "percentile_sd", "percentile_low", "percentile_high"]
NO_TEXT = np.array(None)


class Benchmarks(NamedTuple):
    """Benchmarks as last computed, the members they rest on, and organizations by key."""

    rows: pd.DataFrame
    members: pd.DataFrame
    traits: pd.DataFrame

    @classmethod
    def read(cls, store: Warehouse) -> Benchmarks:
        """What the tables of the warehouse say today."""
        return cls(
            store.read("analytics.skill_benchmarks"),
            store.read("analytics.skill_benchmark_members"),
            store.read("core.dim_organization").set_index("organization_key")[["industry", "country", "size_band"]],
        )


def measure(
    skill: Skill, answers: SkillAnswers, stored: StoredBank, people: People, benchmarks: Benchmarks, minimum: int
) -> tuple[dict[str, pd.DataFrame], str]:
    """Rows of every table of a skill, by table, and what there is to tell of it.

    Args:
        minimum: fewest members of an organization with figures.
    """
    import pandas as pd

    bank = to_bank(stored)
    scale = scale_row(skill, stored)
    tables = {"analytics.skill_items": item_rows(stored)}
    told = f"bank {stored.version}, {int(stored.frames['items']['slope'].notna().sum())} questions"
    if bank is not None:
        recent = recent_answers(answers, bank)
        rows, members, due = benchmark_rows(skill, recent, bank, stored.version, people, benchmarks, minimum)
        gained, no_gain = gains(answers, bank)
        tables |= {
            "analytics.skill_abilities": abilities(recent, bank).assign(as_of=skill.as_of, bank_version=stored.version),
            "analytics.skill_course_gains": gained.assign(as_of=skill.as_of, bank_version=stored.version),
            "analytics.skill_benchmarks": rows,
            "analytics.skill_benchmark_members": members,
        }
        scale |= {**recent_difference(recent, bank), "course_gain_reason": no_gain}
        told += f", {due} organizations computed again" + (f", no gains of courses: {no_gain}" if no_gain else "")
    tables["analytics.skill_scales"] = pd.DataFrame([scale])
    return {name: frame.assign(source=skill.source, skill_key=skill.skill_key) for name, frame in tables.items()}, told


def item_rows(stored: StoredBank) -> pd.DataFrame:
    """Rows of analytics.skill_items: what the stored bank says that its contract names."""
    frame = stored.frames["items"].rename(columns={"item": "question_key", "course": "course_key", "quiz": "item_id"})
    frame["bank_version"] = np.where(frame["slope"].notna(), stored.version, NO_TEXT)
    if "anchors" in stored.frames:
        anchors = stored.frames["anchors"].set_index("item")
        frame["drift"] = frame["question_key"].map(anchors["drift"])
        frame["is_anchor"] = frame["question_key"].map(anchors["is_used"])
    named = {column.name for column in CONTRACTS["analytics.skill_items"].columns}
    return frame[[name for name in frame.columns if name in named]]


def recent_answers(answers: SkillAnswers, bank: ItemBank) -> pd.DataFrame:
    """Answers that today's ability rests on: of a learner's last year, to questions on the scale."""
    group = known_groups(bank, answers.group_of_learner())
    frame = answers.answers.assign(group=group)
    return frame[answers.recent & frame["item"].isin(bank.items["item"])]


def abilities(recent: pd.DataFrame, bank: ItemBank) -> pd.DataFrame:
    """Rows of analytics.skill_abilities of one skill; what is too uncertain is withheld."""
    import pandas as pd

    posterior = group_posterior(
        bank, recent["learner"], recent["item"], recent["category"], group=recent["group"].to_numpy()
    )
    mean, sd = posterior.moments()
    frame = expected_percentiles(posterior).drop(columns="comparison_n").rename(columns={"person": "learner_key"})
    by_learner = recent.groupby("learner", sort=True)["day"].agg(["size", "max"]).reindex(frame["learner_key"])
    frame["ability"], frame["std_error"] = mean, sd
    frame["item_count"] = by_learner["size"].to_numpy()
    frame["last_answered_on"] = pd.to_datetime(by_learner["max"].to_numpy(), unit="D").date
    few, vague = frame["item_count"] < FEWEST_ITEMS, frame["std_error"] > LARGEST_ERROR
    frame["is_shown"] = ~few & ~vague
    frame["withheld_reason"] = np.select(
        [few, vague],
        [f"fewer than {FEWEST_ITEMS} questions in the last year", f"standard error above {LARGEST_ERROR}"],
        "",
    )
    frame["withheld_reason"] = frame["withheld_reason"].where(~frame["is_shown"], None)
    frame[FIGURES] = frame[FIGURES].where(frame["is_shown"])
    return frame


def recent_difference(recent: pd.DataFrame, bank: ItemBank) -> dict[str, float]:
    """How far abilities from the last 90 days alone are from those of the year: columns of analytics.skill_scales."""
    is_late = recent["day"] > recent.groupby("learner")["day"].transform("max") - SHORT_WINDOW_DAYS
    count = is_late.groupby(recent["learner"]).agg(["sum", "size"])
    compared = count.index[(count["sum"] >= FEWEST_ITEMS) & (count["sum"] < count["size"])]
    if len(compared) < 2:
        return {"recent_learner_count": len(compared)}
    both = recent[recent["learner"].isin(compared)]
    short, year = (
        group_posterior(bank, a["learner"], a["item"], a["category"], group=a["group"].to_numpy()).moments()[0]
        for a in (both[is_late[both.index]], both)
    )
    change = short - year
    return {
        "recent_learner_count": len(compared),
        "recent_difference": float(change.mean()),
        "recent_difference_se": float(change.std(ddof=1) / np.sqrt(len(change))),
    }


def benchmark_rows(
    skill: Skill,
    recent: pd.DataFrame,
    bank: ItemBank,
    version: str,
    people: People,
    benchmarks: Benchmarks,
    minimum: int,
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Rows of analytics.skill_benchmarks and skill_benchmark_members, and how many organizations were computed again.

    What is not due stays as it was.
    """
    import pandas as pd

    likelihood = ability_likelihood(bank, recent["learner"], recent["item"], recent["category"])
    group = recent.drop_duplicates("learner").set_index("learner")["group"].reindex(likelihood.persons)
    country = people.traits["country"].reindex(likelihood.persons)
    # What selects learners into questions.
    covariates = pd.DataFrame({"group": group.to_numpy(), "country": country.to_numpy()})
    organization = people.organization.reindex(likelihood.persons).astype(object)
    organization = organization.where(organization.notna(), None).to_numpy()
    now = pd.DataFrame({"organization": organization, "learner": likelihood.persons}).dropna()

    names = {"organization_key": "organization", "learner_key": "learner"}
    old_rows = benchmarks.rows[benchmarks.rows["skill_key"] == skill.skill_key]
    was = benchmarks.members[benchmarks.members["skill_key"] == skill.skill_key].rename(columns=names)
    was = was[list(names.values())]
    computed_on = old_rows.drop_duplicates("organization_key").set_index("organization_key")["computed_on"]
    due = due_organizations(skill.as_of, now, was, pd.to_datetime(computed_on).dt.date)
    due |= set(old_rows.loc[old_rows["member_count"] < minimum, "organization_key"])  # the setting was raised
    rows = [old_rows[~old_rows["organization_key"].isin(due)]]
    if due:
        figures, _ = benchmark(likelihood, organization, covariates, benchmarks.traits, minimum=minimum)
        figures = figures[figures["organization"].isin(due)].rename(columns={"organization": "organization_key"})
        rows.append(figures.assign(computed_on=skill.as_of, bank_version=version))
    rows = [frame.astype(object) for frame in rows if len(frame)]
    members = pd.concat([was[~was["organization"].isin(due)], now[now["organization"].isin(due)]])
    return (
        pd.concat(rows, ignore_index=True) if rows else old_rows,
        members.rename(columns={new: old for old, new in names.items()}),
        len(due),
    )


def gains(answers: SkillAnswers, bank: ItemBank) -> tuple[pd.DataFrame, str | None]:
    """Rows of analytics.skill_course_gains of one skill, and why no course has a gain; None: one has."""
    import pandas as pd

    a = answers.answers[answers.answers["item"].isin(bank.items["item"])]
    likelihood = ability_likelihood(bank, a["occasion"], a["item"], a["category"])
    place = pd.Index(likelihood.persons)
    before, after = (place.get_indexer(answers.pairs[name]) for name in ("before", "after"))
    usable = (before >= 0) & (after >= 0)
    pairs = answers.pairs[usable].reset_index(drop=True)
    row = np.full(len(usable), -1)
    row[usable] = np.arange(usable.sum())
    completed = answers.completed.assign(pair=row[answers.completed["pair"]])
    completed = completed[completed["pair"] >= 0]
    sides = [
        AbilityLikelihood(
            pairs[name].to_numpy(), likelihood.node, likelihood.value[at[usable]], likelihood.answers[at[usable]]
        )
        for name, at in (("before", before), ("after", after))
    ]
    exposure = np.column_stack([np.log(sides[0].answers), np.log(sides[1].answers), pairs["gap_days"]])
    result = course_gains(
        *sides, completed["pair"], completed["course"], pairs["learner"], exposure=exposure,
        calibration_variance=_calibration_variance(a, bank, pairs, completed) if len(completed) else None,
    )  # fmt: skip
    frame = result.courses.drop(columns="shrunken_se")
    frame = frame.rename(columns={"course": "course_key", "takers": "taker_count"})
    half = 1.96 * frame["gain_se"]
    frame["gain_low"], frame["gain_high"] = frame["gain"] - half, frame["gain"] + half
    frame["is_positive"] = (frame["gain_low"] > 0).astype(object).where(frame["gain"].notna(), None)
    frame["reason"] = np.where(
        frame["gain"].isna(), "fewer than 30 learners answered before and after completing it", NO_TEXT
    )
    few = frame["taker_count"] < FEWEST_TAKERS_SHOWN
    frame = frame.rename(columns={"naive": "naive_change", "naive_se": "naive_change_se"})
    hidden = ["taker_count", "naive_change", "naive_change_se"]
    frame[hidden] = frame[hidden].astype(float).where(~few)
    return frame, result.reason


def _calibration_variance(a: pd.DataFrame, bank: ItemBank, pairs: pd.DataFrame, completed: pd.DataFrame) -> pd.Series:
    """Variance by course of the change that errors of the questions' difficulties make for all of its takers."""
    difficulty = bank.difficulties().set_index("item")["difficulty_1_se"]
    weights = []
    for name, sign in (("before", -1.0), ("after", 1.0)):
        taken = completed.assign(occasion=pairs[name].to_numpy()[completed["pair"]])
        joined = taken.merge(a[["occasion", "item"]], on="occasion")
        share = joined.groupby(["course", "item"]).size()
        weights.append(sign * share / share.groupby("course").transform("sum"))
    net = weights[1].add(weights[0], fill_value=0.0)
    error = net.index.get_level_values("item").map(difficulty).to_numpy(float)
    return (net**2 * np.nan_to_num(error) ** 2).groupby("course").sum()
