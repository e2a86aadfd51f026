"""Abilities by item response theory, benchmarks of organizations, gains of courses: one table each.

The models and their papers are in `dagster_project/stats`; here marts are read, skill by skill, and tables written.
"""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from dagster_project.concurrency import in_order
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.defs.skills.scales import Skill, bring_up_to_date, each_skill, facts_row, to_bank
from dagster_project.settings import Settings
from dagster_project.stats.ability_distribution import (
    AbilityLikelihood,
    ability_likelihood,
    expected_percentiles,
    group_posterior,
)
from dagster_project.stats.benchmarks import benchmark, due_organizations
from dagster_project.stats.course_gain import course_gains
from dagster_project.stats.irt import ItemBank
from dagster_project.stats.skill_gap import recommend
from dagster_project.stats.skill_scale import SkillAnswers, known_groups
from dagster_project.store.contracts import read_contracts
from dagster_project.store.item_banks import StoredBank, latest_bank
from dagster_project.store.warehouse import Warehouse

LARGEST_ERROR = 0.5  # of an ability that is shown
FEWEST_ITEMS = 5
FEWEST_TAKERS_SHOWN = 10
CONTRACTS = read_contracts()
ARROW_TYPES = {
    "varchar": pa.string(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


def asset_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["analytics", table])


def _deps(*tables: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(table.split(".")) for table in tables]


def _asset(table: str, *deps: str):
    return dg.asset(
        key=asset_key(table),
        deps=_deps(*deps),
        description=CONTRACTS[f"analytics.{table}"].description,
        group_name="analytics",
        kinds={"python"},
        owners=OWNERS,
        pool=WRITER_POOL,
    )


def _assets(name: str, tables: dict[str, list[str]]):
    return dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(
                asset_key(table),
                deps=_deps(*deps),
                description=CONTRACTS[f"analytics.{table}"].description,
                group_name="analytics",
                kinds={"python"},
                owners=OWNERS,
            )
            for table, deps in tables.items()
        ],
        pool=WRITER_POOL,
    )


def write(warehouse: Warehouse, table: str, frames: list[pd.DataFrame]) -> int:
    """Replace a table of schema analytics by frames that have some of its columns; the others are null."""
    contract = CONTRACTS[f"analytics.{table}"]
    columns = {column.name: column.data_type for column in contract.columns}
    parts = [frame.reindex(columns=list(columns)).astype(object) for frame in frames if len(frame)]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns), dtype=object)
    # A column of nothing but nulls has no type of its own, and one of whole numbers with nulls would be floats.
    arrays = [pa.array(rows[name], ARROW_TYPES[columns[name]], from_pandas=True) for name in columns]
    return warehouse.write(contract.table, pa.Table.from_arrays(arrays, list(columns)), contract)


def _about(skill: Skill) -> dict:
    return {"source": skill.source, "skill_key": skill.skill_key}


def _country(warehouse: Warehouse) -> pd.Series:
    return warehouse.read("core.dim_learner", ["learner_key", "country"]).set_index("learner_key")["country"].dropna()


def scored_skills(settings: Settings) -> Iterator[tuple[Skill, SkillAnswers, ItemBank, str]]:
    """Every skill that has a scale: its answers, its frozen bank and the bank's version."""
    for skill, answers in each_skill(Warehouse(settings)):
        stored = latest_bank(settings, skill.source, skill.skill_key, skill.as_of)
        bank = to_bank(stored) if stored else None
        if bank is not None:
            yield skill, answers, bank, stored.version


def recent_answers(answers: SkillAnswers, bank: ItemBank) -> pd.DataFrame:
    """Answers that today's ability rests on: of a learner's last year, to questions on the scale."""
    group = known_groups(bank, answers.group_of_learner())
    frame = answers.answers.assign(group=group)
    return frame[answers.recent & frame["item"].isin(bank.items["item"])]


ITEM_DEPS = [
    "marts.mart_skill_response",
    "core.dim_course",
    "core.dim_course_skill",
    "core.dim_learner",
    "core.dim_source",
    "core.fct_course_enrollment",
]


@_assets("skill_bank", {"skill_scales": ITEM_DEPS, "skill_items": ITEM_DEPS})
def skill_bank(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        country = _country(store)
        scales, items = [], []

        def work(skill: Skill, answers: SkillAnswers) -> tuple[Skill, StoredBank]:
            return skill, bring_up_to_date(settings, skill, answers, country)

        for skill, stored in in_order(work, each_skill(store), settings.threads):
            scales.append(facts_row(skill, stored))
            frame = stored.frames["items"].rename(
                columns={"item": "question_key", "course": "course_key", "quiz": "item_id"}
            )
            frame["bank_version"] = np.where(frame["slope"].notna(), stored.version, None)
            if "anchors" in stored.frames:
                anchors = stored.frames["anchors"].set_index("item")
                frame["drift"] = frame["question_key"].map(anchors["drift"])
                frame["is_anchor"] = frame["question_key"].map(anchors["is_used"])
            items.append(frame.assign(**_about(skill)))
            context.log.info(f"{skill.skill_key}: bank {stored.version}, {int(frame['slope'].notna().sum())} questions")
        for table, rows in (("skill_scales", [pd.DataFrame(scales)]), ("skill_items", items)):
            count = write(store, table, rows)
            yield dg.MaterializeResult(asset_key=asset_key(table), metadata={"dagster/row_count": count})


@_asset("skill_abilities", "analytics.skill_items", *ITEM_DEPS)
def skill_abilities(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    with warehouse.writing(context) as settings:

        def work(skill: Skill, answers: SkillAnswers, bank: ItemBank, version: str) -> pd.DataFrame:
            return abilities(answers, bank).assign(as_of=skill.as_of, bank_version=version, **_about(skill))

        frames = list(in_order(work, scored_skills(settings), settings.threads))
        count = write(Warehouse(settings), "skill_abilities", frames)
    return dg.MaterializeResult(metadata={"dagster/row_count": count})


def abilities(answers: SkillAnswers, bank: ItemBank) -> pd.DataFrame:
    """Rows of analytics.skill_abilities of one skill; what is too uncertain is withheld."""
    recent = recent_answers(answers, bank)
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
    figures = ["ability", "std_error", "percentile", "percentile_sd", "percentile_low", "percentile_high"]
    frame[figures] = frame[figures].where(frame["is_shown"])
    return frame


@_assets(
    "skill_benchmark",
    {
        table: ["analytics.skill_items", "marts.mart_organization_member", "core.dim_organization", *ITEM_DEPS]
        for table in ("skill_benchmarks", "skill_benchmark_members")
    },
)
def skill_benchmark(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        store.restore([CONTRACTS["analytics.skill_benchmarks"], CONTRACTS["analytics.skill_benchmark_members"]])
        old = store.read("analytics.skill_benchmarks")
        old_members = store.read("analytics.skill_benchmark_members")
        organization_of = store.read(
            "marts.mart_organization_member", ["learner_key", "organization_key"], where="is_main"
        ).set_index("learner_key")["organization_key"]
        traits = store.read("core.dim_organization").set_index("organization_key")[["industry", "country", "size_band"]]
        country = _country(store)
        rows, members = [], []

        def work(skill: Skill, answers: SkillAnswers, bank: ItemBank, version: str) -> tuple:
            about = _about(skill)
            now, likelihood, covariates = _members(answers, bank, organization_of, country)
            was = old_members[old_members["skill_key"] == skill.skill_key].rename(
                columns={"organization_key": "organization", "learner_key": "learner"}
            )[["organization", "learner"]]
            kept_rows = old[old["skill_key"] == skill.skill_key]
            computed_on = kept_rows.drop_duplicates("organization_key").set_index("organization_key")["computed_on"]
            computed_on = pd.to_datetime(computed_on).dt.date
            due = due_organizations(skill.as_of, now, was, computed_on)
            figures, _ = benchmark(
                likelihood, likelihood_organizations(likelihood, organization_of), covariates, traits
            )
            figures = figures[figures["organization"].isin(due)].rename(columns={"organization": "organization_key"})
            figures = figures.assign(computed_on=skill.as_of, bank_version=version, **about)
            kept = pd.concat([was[~was["organization"].isin(due)], now[now["organization"].isin(due)]])
            kept = kept.rename(columns={"organization": "organization_key", "learner": "learner_key"})
            return skill, due, [kept_rows[~kept_rows["organization_key"].isin(due)], figures], kept.assign(**about)

        for skill, due, figures, kept in in_order(work, scored_skills(settings), settings.threads):
            rows += figures
            members.append(kept)
            context.log.info(f"{skill.skill_key}: {len(due)} organizations computed again")
        for table, frames in (("skill_benchmarks", rows), ("skill_benchmark_members", members)):
            count = write(store, table, frames)
            yield dg.MaterializeResult(asset_key=asset_key(table), metadata={"dagster/row_count": count})


def likelihood_organizations(likelihood: AbilityLikelihood, organization_of: pd.Series) -> np.ndarray:
    """Organization of each person of a likelihood, None without one."""
    labels = organization_of.reindex(likelihood.persons).astype(object)
    return labels.where(labels.notna(), None).to_numpy()


def _members(answers: SkillAnswers, bank: ItemBank, organization_of: pd.Series, country: pd.Series):
    """Members with answers, everybody's likelihood, and what selects learners into questions."""
    recent = recent_answers(answers, bank)
    likelihood = ability_likelihood(bank, recent["learner"], recent["item"], recent["category"])
    group = recent.drop_duplicates("learner").set_index("learner")["group"].reindex(likelihood.persons)
    covariates = pd.DataFrame({"group": group.to_numpy(), "country": country.reindex(likelihood.persons).to_numpy()})
    now = pd.DataFrame(
        {"organization": organization_of.reindex(likelihood.persons).to_numpy(), "learner": likelihood.persons}
    )
    return now.dropna(), likelihood, covariates


@_asset("skill_course_gains", "analytics.skill_items", *ITEM_DEPS)
def skill_course_gains(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    with warehouse.writing(context) as settings:

        def work(skill: Skill, answers: SkillAnswers, bank: ItemBank, version: str) -> pd.DataFrame:
            return gains(answers, bank).assign(as_of=skill.as_of, bank_version=version, **_about(skill))

        frames = list(in_order(work, scored_skills(settings), settings.threads))
        count = write(Warehouse(settings), "skill_course_gains", frames)
    return dg.MaterializeResult(metadata={"dagster/row_count": count})


def gains(answers: SkillAnswers, bank: ItemBank) -> pd.DataFrame:
    """Rows of analytics.skill_course_gains of one skill."""
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
        *sides, completed["pair"], completed["course"], pairs["learner"],
        exposure=exposure, calibration_variance=_calibration_variance(a, bank, pairs, completed),
    )  # fmt: skip
    frame = result.courses.rename(columns={"course": "course_key", "takers": "taker_count"})
    half = 1.96 * frame["gain_se"]
    frame["gain_low"], frame["gain_high"] = frame["gain"] - half, frame["gain"] + half
    frame["is_positive"] = (frame["gain_low"] > 0).astype(object).where(frame["gain"].notna(), None)
    frame["reason"] = np.where(
        frame["gain"].isna(), "fewer than 30 learners answered before and after completing it", None
    )
    few = frame["taker_count"] < FEWEST_TAKERS_SHOWN
    frame = frame.rename(columns={"naive": "naive_change", "naive_se": "naive_change_se"})
    hidden = ["taker_count", "naive_change", "naive_change_se"]
    frame[hidden] = frame[hidden].astype(float).where(~few)
    return frame


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


@_asset(
    "skill_gaps",
    "analytics.skill_benchmarks",
    "analytics.skill_benchmark_members",
    "analytics.skill_course_gains",
    "analytics.skill_items",
    "core.fct_course_enrollment",
)
def skill_gaps(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        names = {"organization_key": "organization", "course_key": "course"}
        benchmarks = store.read("analytics.skill_benchmarks", where="comparison = 'all' and is_shown").rename(
            columns=names
        )
        items = store.read("analytics.skill_items", where="slope is not null").rename(columns=names)
        gained = store.read("analytics.skill_course_gains").rename(columns=names)
        completed = pd.concat(
            [
                batch.to_pandas()
                for batch in store.batches(
                    "select members.skill_key, members.organization_key as organization, "
                    "taken.course_key as course, count(distinct members.learner_key) as members "
                    "from analytics.skill_benchmark_members as members "
                    "inner join core.fct_course_enrollment as taken on members.learner_key = taken.learner_key "
                    "inner join core.dim_course_skill as teaches on taken.course_key = teaches.course_key "
                    "and members.skill_key = teaches.skill_key "
                    "where taken.outcome in ('pass', 'distinction') group by all"
                )
            ]
            or [pd.DataFrame(columns=["skill_key", "organization", "course", "members"])]
        )
        frames = []
        for (source, skill), rows in benchmarks.groupby(["source", "skill_key"], sort=True):
            one = [frame[frame["skill_key"] == skill] for frame in (items, gained, completed)]
            found = recommend(rows, *one).rename(columns={new: old for old, new in names.items()})
            frames.append(found.assign(source=source, skill_key=skill))
        count = write(store, "skill_gaps", frames)
    return dg.MaterializeResult(metadata={"dagster/row_count": count})
