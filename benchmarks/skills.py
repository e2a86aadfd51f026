"""Planted against estimated, on a simulated university that has run through the warehouse.

    python -m benchmarks.skills --warehouse HOME --truth TRUTH.json

Prints tables: how well the questions' planted difficulties and the learners' planted abilities are recovered by skill;
the regression of the employers' estimated mean ability on the planted mean of the same members; what courses with and
without a planted gain show, beside the naive before–after. The bank's unit is known from the slopes. Planted abilities
lie beside the truth file, and are those at the learner's last answer.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse

SOURCE = "campus"


def questions(items: pd.DataFrame, truth: dict) -> pd.DataFrame:
    """Usable questions with planted parameters, by skill."""
    items = items[items["slope"].notna()].copy()
    known = items["question_key"].str.split(":").str[1].map(truth["questions"])
    items["planted_slope"] = [q["slope"] for q in known]
    items["planted_difficulty"] = [q["difficulty"] for q in known]
    return items


def gains(found: pd.DataFrame, truth: dict) -> pd.DataFrame:
    """Estimated gains with the planted ones."""
    found = found[found["gain"].notna()].copy()
    skill = found["skill_key"].str.split(":").str[1]
    course = found["course_key"].str.split(":").str[1]
    found["planted"] = [truth["course_gains"][c][s] for c, s in zip(course, skill, strict=True)]
    return found


def planted_abilities(truth: Path, settings: Settings) -> pd.Series:
    """Planted ability by (skill_key, learner_key) of the source `campus`."""
    frame = pd.read_parquet(truth.with_name(f"{truth.stem}-abilities.parquet"))
    key = read_key(settings)
    keys = {learner: f"{SOURCE}:{keyed_hash(learner, key)}" for learner in frame["learner_id"].unique()}
    index = [f"{SOURCE}:" + frame["skill_id"], frame["learner_id"].map(keys)]
    return pd.Series(frame["ability"].to_numpy(float), pd.MultiIndex.from_arrays(index))


def with_planted(frame: pd.DataFrame, planted: pd.Series, unit: dict[str, float]) -> pd.DataFrame:
    """The rows with `planted`, in the unit of their skill's bank; its zero point stays the simulator's."""
    value = planted.reindex(pd.MultiIndex.from_frame(frame[["skill_key", "learner_key"]])).to_numpy()
    return frame.assign(planted=value / frame["skill_key"].map(unit).to_numpy())


def recovered(abilities: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """By skill: correlation of shown abilities with the planted ones, and share of those within the 90 % band.

    The zero point of a scale is where its learners are: the mean of both is taken to be the same.
    """
    found = {}
    for skill, rows in abilities[abilities["is_shown"] & abilities["planted"].notna()].groupby("skill_key"):
        planted = rows["planted"] - rows["planted"].mean() + rows["ability"].mean()
        inside = (rows["ability"] - planted).abs() <= 1.645 * rows["std_error"]
        found[skill] = np.corrcoef(rows["ability"], rows["planted"])[0, 1], float(inside.mean())
    return found


def employer_means(store: Warehouse, planted: pd.Series, unit: dict[str, float]) -> pd.DataFrame:
    """Shown benchmarks against all: estimated and planted mean ability of the same members, from their skill's mean."""
    members = with_planted(store.read("analytics.skill_benchmark_members"), planted, unit)
    keys = ["skill_key", "organization_key"]
    means = members.groupby(keys)["planted"].agg(planted="mean", answered="count").reset_index()
    rows = store.read("analytics.skill_benchmarks", where="comparison = 'all' and is_shown")
    rows = rows.merge(means, on=keys)
    for name in ("mean_ability", "planted"):
        weighted = rows[name] * rows["member_count"]
        by_skill = rows.assign(weighted=weighted).groupby("skill_key")[["weighted", "member_count"]].transform("sum")
        rows[name] -= by_skill["weighted"] / by_skill["member_count"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True, help="folder with the build database")
    parser.add_argument("--truth", type=Path, required=True, help="the simulator's truth file")
    arguments = parser.parse_args()
    truth = json.loads(arguments.truth.read_text())
    settings = Settings(home=arguments.warehouse)
    store = Warehouse(settings)
    items = questions(store.read("analytics.skill_items"), truth)
    unit = {}
    for skill, rows in items.groupby("skill_key"):
        weight = np.sqrt(rows["response_count"].to_numpy(float))
        # Ability and difficulty share a unit; slopes give its inverse, and depend on no zero point.
        unit[skill] = float(np.average(rows["slope"] / rows["planted_slope"], weights=weight))
    planted = planted_abilities(arguments.truth, settings)
    abilities = with_planted(store.read("analytics.skill_abilities"), planted, unit)
    ability = recovered(abilities)
    print(
        "| skill | questions | correlation of difficulties | planted sds per unit of the bank | abilities shown "
        "| correlation with planted | 90 % band holds the planted one |\n|---|---|---|---|---|---|---|"
    )
    for skill, rows in items.groupby("skill_key"):
        correlation = np.corrcoef(rows["difficulty"], rows["planted_difficulty"])[0, 1]
        shown = int(abilities.loc[abilities["skill_key"] == skill, "is_shown"].sum())
        r, inside = ability.get(skill, (np.nan, np.nan))
        print(f"| {skill} | {len(rows)} | {correlation:.3f} | {unit[skill]:.3f} | {shown:,} | {r:.3f} | {inside:.3f} |")

    rows = employer_means(store, planted, unit)
    # Differences of estimates have errors of known size: weights; the planted mean has none.
    weight = 1 / rows["std_error"]
    slope, _ = np.polyfit(rows["planted"], rows["mean_ability"], 1, w=weight)
    inside = ((rows["mean_ability"] - rows["planted"]).abs() <= 1.96 * rows["std_error"]).mean()
    correlation = np.corrcoef(rows["planted"], rows["mean_ability"])[0, 1]
    print(
        f"\nestimated mean = {slope:.3f} × planted mean of the same members, {len(rows)} employers × skills; "
        f"correlation {correlation:.3f}, 95 % interval holds the planted mean in {inside:.3f}"
    )

    found = gains(store.read("analytics.skill_course_gains"), truth)
    found["planted_in_bank"] = found["planted"] / found["skill_key"].map(unit)
    inside = (found["planted_in_bank"] >= found["gain_low"]) & (found["planted_in_bank"] <= found["gain_high"])
    naive_off = (found["naive_change"] - found["planted_in_bank"]).abs() > 1.96 * found["naive_change_se"]
    print(
        "\n| courses × skills | n | mean planted | mean gain | mean naive | 95 % interval holds the planted gain "
        "| naive interval misses it |\n|---|---|---|---|---|---|---|"
    )
    for name, rows in (("planted gain zero", found["planted"] == 0), ("planted gain", found["planted"] > 0)):
        part = found[rows]
        weight = 1 / part["gain_se"] ** 2
        print(
            f"| {name} | {len(part)} | {np.average(part['planted_in_bank'], weights=weight):.3f} "
            f"| {np.average(part['gain'], weights=weight):.3f} "
            f"| {np.average(part['naive_change'], weights=weight):.3f} "
            f"| {inside[rows].mean():.3f} | {naive_off[rows].mean():.3f} |"
        )
    slope, intercept = np.polyfit(found["planted_in_bank"], found["gain"], 1, w=1 / found["gain_se"])
    print(f"\ngain = {intercept:+.3f} + {slope:.3f} × planted gain, {len(found)} courses × skills")


if __name__ == "__main__":
    main()
