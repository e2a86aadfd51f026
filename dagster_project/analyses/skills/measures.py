"""What is said with one skill's scale: rows of its tables, from its answers and its frozen bank."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dagster_project.analyses.skills.banks import StoredBank
from dagster_project.analyses.skills.scales import People, Skill, scale_row, to_bank
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.stats.item_response.abilities import Posterior, expected_percentiles
from dagster_project.stats.item_response.histories import Histories
from dagster_project.stats.item_response.longitudinal_bank import LongitudinalBank
from dagster_project.stats.skills.benchmarks import benchmark, due_organizations
from dagster_project.stats.skills.growth import YEAR, abilities_by_quarter, organization_gains
from dagster_project.stats.skills.scale import WINDOW_DAYS, SkillAnswers, highest_levels
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


LARGEST_ERROR = 0.5  # of an ability that is shown
FEWEST_ITEMS = 5
FEWEST_TAKERS_SHOWN = 10
FEWEST_TAKERS = 30
SMALLEST_GROUP = 200  # learners, of a course level and number of completed courses
MOST_COMPLETED = 3
FIGURES = ["ability", "std_error", "percentile", "percentile_sd", "percentile_low", "percentile_high"]
GAIN_FIGURES = ["year_gain", "year_gain_se", "year_gain_low", "year_gain_high", "year_gain_member_count"]
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
    tables = {"analytics.skill_items": item_rows(stored), "analytics.skill_courses": course_rows(stored)}
    told = f"bank {stored.version}, {int(stored.frames['items']['slope'].notna().sum())} questions"
    if bank is not None:
        data = answers.histories(bank)
        measured = Measured.of(bank, data)
        ability = abilities(measured)
        rows, members, due = benchmark_rows(skill, measured, answers, stored.version, people, benchmarks, minimum)
        gained, no_gain = gains(bank)
        tables |= {
            "analytics.skill_abilities": ability.assign(as_of=skill.as_of, bank_version=stored.version),
            "analytics.skill_growth": growth(measured, ability).assign(bank_version=stored.version),
            "analytics.skill_course_gains": gained.assign(as_of=skill.as_of, bank_version=stored.version),
            "analytics.skill_benchmarks": rows,
            "analytics.skill_benchmark_members": members,
        }
        scale["course_gain_reason"] = no_gain
        told += f", {due} organizations computed again" + (f", no gains of courses: {no_gain}" if no_gain else "")
    elif scale["reason"]:
        told = f"no scale: {scale['reason']}"
    tables["analytics.skill_scales"] = pd.DataFrame([scale])
    return {name: frame.assign(source=skill.source, skill_key=skill.skill_key) for name, frame in tables.items()}, told


class Measured(NamedTuple):
    """Learners' abilities at their last answer.

    Attributes:
        bank, data: the frozen bank, and the answers to its questions.
        posterior: what the answers say of each ability, were the scale known.
        mean, sd: of the posterior, shape (persons,).
        scale_error: sd of the error of each mean that courses' locations and gains make, shape (persons,).
        prior_sd: sd of each learner's prior, shape (persons,).
    """

    bank: LongitudinalBank
    data: Histories
    posterior: Posterior
    mean: np.ndarray
    sd: np.ndarray
    scale_error: np.ndarray
    prior_sd: np.ndarray

    @classmethod
    def of(cls, bank: LongitudinalBank, data: Histories) -> Measured:
        """What the answers say on the bank."""
        known, (_, prior_sd) = bank.posterior(data), bank.prior(data)
        mean, sd = known.moments()
        return cls(bank, data, known, mean, sd, np.sqrt(bank.error_variance(data, mean, prior_sd)), prior_sd)

    @property
    def std_error(self) -> np.ndarray:
        """Standard error of each ability, the scale's included."""
        return np.sqrt(self.sd**2 + self.scale_error**2)


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


def course_rows(stored: StoredBank) -> pd.DataFrame:
    """Rows of analytics.skill_courses."""
    names = {"course": "course_key", "persons": "learner_count", "answers": "answer_count"}
    frame = stored.frames["courses"].rename(columns=names).assign(bank_version=stored.version)
    counts = [name for name in ("learner_count", "answer_count") if name in frame]
    if counts:
        frame[counts] = frame[counts].astype(float).where(frame["learner_count"] >= FEWEST_TAKERS_SHOWN)
    named = {column.name for column in CONTRACTS["analytics.skill_courses"].columns}
    return frame[[name for name in frame.columns if name in named]]


def abilities(measured: Measured) -> pd.DataFrame:
    """Rows of analytics.skill_abilities of one skill; what is too uncertain is withheld."""
    import pandas as pd

    data = measured.data
    frame = expected_percentiles(measured.posterior, scale_error=measured.scale_error)
    frame = frame.drop(columns="comparison_n").rename(columns={"person": "learner_key"})
    last = data.day[data.start[1:] - 1]
    recent = data.day > np.repeat(last, data.answers) - WINDOW_DAYS
    frame["ability"], frame["std_error"] = measured.mean, measured.std_error
    frame["item_count"] = np.add.reduceat(recent, data.start[:-1]) if len(data.row) else 0
    frame["completed_course_count"] = data.last
    frame["last_answered_on"] = pd.to_datetime(last, unit="D").date
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


def benchmark_rows(
    skill: Skill,
    measured: Measured,
    answers: SkillAnswers,
    version: str,
    people: People,
    benchmarks: Benchmarks,
    minimum: int,
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Rows of analytics.skill_benchmarks and skill_benchmark_members, and how many organizations were computed again.

    What is not due stays as it was.
    """
    import pandas as pd

    bank, data = measured.bank, measured.data
    persons = data.persons
    # What selects learners into questions, and what they have learned since.
    group = (
        pd.Series(highest_levels(answers, data)).astype(str) + " " + np.minimum(data.last, MOST_COMPLETED).astype(str)
    )
    group = group.where(group.groupby(group).transform("size") >= SMALLEST_GROUP, "other")
    country = people.traits["country"].reindex(persons)
    covariates = pd.DataFrame({"group": group.to_numpy(), "country": country.to_numpy()})
    organization = people.organization.reindex(persons).astype(object)
    organization = organization.where(organization.notna(), None).to_numpy()
    now = pd.DataFrame({"organization": organization, "learner": persons}).dropna()

    names = {"organization_key": "organization", "learner_key": "learner"}
    old_rows = benchmarks.rows[benchmarks.rows["skill_key"] == skill.skill_key]
    was = benchmarks.members[benchmarks.members["skill_key"] == skill.skill_key].rename(columns=names)
    was = was[list(names.values())]
    computed_on = old_rows.drop_duplicates("organization_key").set_index("organization_key")["computed_on"]
    due = due_organizations(skill.as_of, now, was, pd.to_datetime(computed_on).dt.date)
    due |= set(old_rows.loc[old_rows["member_count"] < minimum, "organization_key"])  # the setting was raised
    rows = [old_rows[~old_rows["organization_key"].isin(due)]]
    if due:
        figures, _ = benchmark(
            bank.likelihood(data), organization, covariates, benchmarks.traits, minimum=minimum,
            scale_variance=lambda member: bank.mean_error_variance(data, measured.mean, measured.prior_sd, member),
        )  # fmt: skip
        gained = gains_of_year(bank, answers, skill.as_of, people.organization[people.organization.isin(due)], minimum)
        figures = figures.merge(gained, on="organization", how="left")
        told = figures["is_shown"] & (figures["comparison"] == "all")
        figures[GAIN_FIGURES] = figures[GAIN_FIGURES].where(told)
        figures = figures[figures["organization"].isin(due)].rename(columns={"organization": "organization_key"})
        rows.append(figures.assign(computed_on=skill.as_of, bank_version=version))
    rows = [frame.astype(object) for frame in rows if len(frame)]
    members = pd.concat([was[~was["organization"].isin(due)], now[now["organization"].isin(due)]])
    return (
        pd.concat(rows, ignore_index=True) if rows else old_rows,
        members.rename(columns={new: old for old, new in names.items()}),
        len(due),
    )


def gains_of_year(
    bank: LongitudinalBank, answers: SkillAnswers, as_of: date, organization: pd.Series, minimum: int
) -> pd.DataFrame:
    """What members of each organization gained in the last year of the data: frame organization, GAIN_FIGURES.

    Args:
        organization (series, learner → organization): of those that are asked for.
    """
    a = answers.answers
    a = a[a["learner"].isin(organization.index)]
    is_late = a["day"] > (as_of - date(1970, 1, 1)).days - YEAR
    sides = [replace(answers, answers=a[part]).histories(bank) for part in (~is_late, is_late)]
    found = organization_gains(bank, *sides, organization)
    found = found[found["members"] >= minimum]
    half = 1.96 * found["gain_se"]
    found = found.assign(low=found["gain"] - half, high=found["gain"] + half)
    names = ["gain", "gain_se", "low", "high", "members"]
    return found.rename(columns=dict(zip(names, GAIN_FIGURES, strict=True)))[["organization", *GAIN_FIGURES]]


def growth(measured: Measured, ability: pd.DataFrame) -> pd.DataFrame:
    """Rows of analytics.skill_growth of one skill: of learners whose ability is shown."""
    found = abilities_by_quarter(measured.bank, measured.data, measured.mean, measured.sd, measured.prior_sd)
    found = found[ability["is_shown"].to_numpy()[found["person"]]]
    first = found.groupby("person")["ability"].transform("first")
    return found.assign(
        learner_key=measured.data.persons[found["person"]], quarter_starts_on=found["quarter"].dt.date,
        gained=found["ability"] - first,
    ).rename(columns={"completed": "completed_course_count", "answers": "answer_count"}).drop(
        columns=["person", "quarter"]
    )  # fmt: skip


def gains(bank: LongitudinalBank) -> tuple[pd.DataFrame, str | None]:
    """Rows of analytics.skill_course_gains of one skill, and why no course has a gain; None: one has."""
    frame = bank.gains.drop(columns="shrunken_se").rename(columns={"course": "course_key", "persons": "taker_count"})
    enough = frame["taker_count"] >= FEWEST_TAKERS
    figures = ["gain", "gain_se"]
    frame[figures] = frame[figures].where(enough)
    frame["shrunken_gain"] = frame["shrunken_gain"].where(enough)
    half = 1.96 * frame["gain_se"]
    frame["gain_low"], frame["gain_high"] = frame["gain"] - half, frame["gain"] + half
    frame["is_positive"] = (frame["gain_low"] > 0).astype(object).where(frame["gain"].notna(), None)
    frame["reason"] = np.where(
        enough, NO_TEXT, f"fewer than {FEWEST_TAKERS} learners answered before and after completing it"
    )
    frame["taker_count"] = frame["taker_count"].astype(float).where(frame["taker_count"] >= FEWEST_TAKERS_SHOWN)
    none = None if enough.any() else (
        f"no course has {FEWEST_TAKERS} learners who answered before and after completing it"
        if len(frame)
        else "nobody answered before and after completing a course"
    )  # fmt: skip
    return frame, none
