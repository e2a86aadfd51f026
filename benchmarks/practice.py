"""What the recommendations for learners are worth, on a simulated university that has run through the warehouse.

    python -m benchmarks.practice --warehouse HOME --truth TRUTH.json

Prints two tables by skill. Questions: the information, with planted parameters at the planted ability, of a question
drawn at random from those that the learner has not answered, of those recommended, and of the five that were best if
all were known and no exposure limited. Courses: the gain expected of those recommended first, the planted gain of the
same, and the mean planted gain of the skill's courses with a known gain.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.skills import gains, planted_abilities, questions
from dagster_project.analyses.skills.practice import NEXT_COURSES, NEXT_QUESTIONS
from dagster_project.settings import Settings
from dagster_project.stats.skills.practice import QUESTIONS, fit_to_ask, question_information
from dagster_project.store.warehouse import Warehouse


def planted_steps(items: pd.DataFrame, truth: dict) -> np.ndarray:
    """Planted intercepts by question and step, NaN where it has no more."""
    known = items["question_key"].str.split(":").str[1].map(truth["questions"])
    steps = [[0.0] if q["thresholds"] is None else q["thresholds"] for q in known]
    out = np.full((len(items), max(map(len, steps))), np.nan)
    for row, (q, offsets) in enumerate(zip(known, steps, strict=True)):
        out[row, : len(offsets)] = [-q["slope"] * (q["difficulty"] + offset) for offset in offsets]
    return out


def worth_of_questions(store: Warehouse, truth: dict, planted: pd.Series) -> pd.DataFrame:
    """Means by skill: planted information of a random, a recommended and the five best questions."""
    items = store.read("analytics.skill_items")
    items = questions(items[fit_to_ask(items)], truth).reset_index(drop=True)
    asked = store.read(NEXT_QUESTIONS, ["skill_key", "learner_key", "question_key"])
    rows = []
    for skill, recommended in asked.groupby("skill_key"):
        bank = items[items["skill_key"] == skill]
        learners = pd.Index(recommended["learner_key"].unique())
        ability = planted.reindex(pd.MultiIndex.from_product([[skill], learners])).to_numpy()
        information = question_information(bank["planted_slope"], planted_steps(bank, truth), ability)
        information[np.isnan(ability)] = np.nan
        answered = store.read(
            "marts.mart_skill_response", ["learner_key", "question_key"], "skill_key = ?", parameters=[skill]
        )
        row, column = learners.get_indexer(answered["learner_key"]), pd.Index(bank["question_key"])
        column = column.get_indexer(answered["question_key"])
        is_known = (row >= 0) & (column >= 0)
        chosen = information[
            learners.get_indexer(recommended["learner_key"]),
            pd.Index(bank["question_key"]).get_indexer(recommended["question_key"]),
        ]
        information[row[is_known], column[is_known]] = np.nan
        best = -np.sort(-information, axis=1)[:, :QUESTIONS]  # NaN last
        rows.append((skill, len(learners), np.nanmean(information), np.nanmean(chosen), np.nanmean(best)))
    return pd.DataFrame(rows, columns=["skill", "learners", "at random", "recommended", "best"])


def worth_of_courses(store: Warehouse, truth: dict) -> pd.DataFrame:
    """Means by skill: expected and planted gain of the courses recommended first, planted gain of all."""
    known = gains(store.read("analytics.skill_course_gains"), truth)
    first = store.read(
        NEXT_COURSES, ["skill_key", "course_key", "expected_gain"], "rank = 1 and course_key is not null"
    )
    first = first.merge(known[["skill_key", "course_key", "planted"]], on=["skill_key", "course_key"])
    found = first.groupby("skill_key").agg(
        learners=("planted", "size"), expected=("expected_gain", "mean"), planted=("planted", "mean")
    )
    return found.assign(all=known.groupby("skill_key")["planted"].mean()).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True, help="folder with the build database")
    parser.add_argument("--truth", type=Path, required=True, help="the simulator's truth file")
    arguments = parser.parse_args()
    truth = json.loads(arguments.truth.read_text())
    settings = Settings(home=arguments.warehouse)
    store = Warehouse(settings)
    print(
        "| skill | learners | a question at random tells | a recommended one | the five best |\n|---|---|---|---|---|"
    )
    for row in worth_of_questions(store, truth, planted_abilities(arguments.truth, settings)).itertuples(index=False):
        print(f"| {row[0]} | {row[1]:,} | {row[2]:.3f} | {row[3]:.3f} | {row[4]:.3f} |")
    print(
        "\n| skill | learners with a course | expected gain of their first | its planted gain | planted gain of all |\n"
        "|---|---|---|---|---|"
    )
    for row in worth_of_courses(store, truth).itertuples(index=False):
        print(f"| {row[0]} | {row[1]:,} | {row[2]:.3f} | {row[3]:.3f} | {row[4]:.3f} |")


if __name__ == "__main__":
    main()
