"""Planted against estimated, on a simulated university that has run through the warehouse.

    python -m benchmarks.skills --warehouse HOME --truth TRUTH.json

Reads `analytics.skill_items` and `analytics.skill_course_gains` and prints two tables: how well the questions' planted
difficulties are recovered, and what courses with and without a planted gain show, beside the naive before–after. Gains
and difficulties are compared in the bank's unit, by a straight line through the difficulties.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True, help="folder with the build database")
    parser.add_argument("--truth", type=Path, required=True, help="the simulator's truth file")
    arguments = parser.parse_args()
    truth = json.loads(arguments.truth.read_text())
    store = Warehouse(Settings(home=arguments.warehouse))
    items = questions(store.read("analytics.skill_items"), truth)
    print("| skill | questions | correlation of difficulties | planted sds per unit of the bank |\n|---|---|---|---|")
    unit = {}
    for skill, rows in items.groupby("skill_key"):
        weight = np.sqrt(rows["response_count"].to_numpy(float))
        # Ability and difficulty share a unit; slopes give its inverse, and depend on no zero point.
        unit[skill] = float(np.average(rows["slope"] / rows["planted_slope"], weights=weight))
        correlation = np.corrcoef(rows["difficulty"], rows["planted_difficulty"])[0, 1]
        print(f"| {skill} | {len(rows)} | {correlation:.3f} | {unit[skill]:.3f} |")

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
