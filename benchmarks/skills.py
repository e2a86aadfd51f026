"""Planted against estimated, on a simulated university that has run through the warehouse.

    python -m benchmarks.skills --warehouse HOME --truth TRUTH.json

Reads the tables that everybody reads. Prints by skill how far courses are misplaced beside what their errors say, and
beside courses placed by their level alone; what a fit with the planted abilities would reach; how often the 90 % bands
of shown abilities hold the planted ability at the last answer; then gains of courses, growth of learners, and means and
yearly gains of employers' people. Figures are in planted sds. The bank's unit is known from the slopes; the zero point
of a scale is where its learners, or its courses, are on average.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse

SOURCE = "campus"
MANY_ANSWERS = 200
BANDS = (0.0, 0.10, 0.15, 0.25, 9.0)
COMPLETED = ((0, 0, "none"), (1, 2, "1 or 2"), (3, 10**6, "3 or more"))


def questions(items: pd.DataFrame, truth: dict) -> pd.DataFrame:
    """Usable questions with planted parameters, by skill."""
    items = items[items["slope"].notna()].copy()
    known = items["question_key"].str.split(":").str[1].map(truth["questions"])
    items["planted_slope"] = [q["slope"] for q in known]
    items["planted_difficulty"] = [q["difficulty"] for q in known]
    return items


def units(items: pd.DataFrame) -> dict[str, float]:
    """Planted sds in a unit of each skill's bank: slopes give it, and depend on no zero point.

    Ratio of their sums over answers: a mean of ratios of uncertain slopes would be too large.
    """
    weighted = items[["slope", "planted_slope"]].mul(items["response_count"], axis=0)
    sums = weighted.groupby(items["skill_key"]).sum()
    return (sums["slope"] / sums["planted_slope"]).to_dict()


def course_errors(items: pd.DataFrame, courses: pd.DataFrame, unit: dict[str, float]) -> pd.DataFrame:
    """Courses with the error of their location and its standard error, in planted sds."""
    rows = items.assign(weight=1 / items["difficulty_se"] ** 2)
    rows["error"] = rows["difficulty"] * rows["skill_key"].map(unit) - rows["planted_difficulty"]
    keys = ["skill_key", "course_key"]
    for name in ("error", "planted_difficulty"):
        rows[name] *= rows["weight"]
    by = rows.groupby(keys)[["error", "planted_difficulty", "weight"]].sum().reset_index()
    by["error"] /= by["weight"]
    by["planted"] = by["planted_difficulty"] / by["weight"]
    by = by.merge(courses[[*keys, "location_se", "level"]], on=keys)
    by["std_error"] = by["location_se"] * by["skill_key"].map(unit)
    for _, at in by.groupby("skill_key").groups.items():
        by.loc[at, "error"] -= np.average(by.loc[at, "error"], weights=1 / by.loc[at, "std_error"] ** 2)
    return by


def shared_error(error: pd.Series, course: pd.Series) -> float:
    """Sd between courses of an error of their questions, the questions' own error taken out."""
    groups = error.groupby(course.to_numpy())
    mean, size = groups.mean(), groups.size()
    within = float(((error - groups.transform("mean")) ** 2).sum() / max(len(error) - len(mean), 1))
    several = size >= 2
    between = float(mean[several].var() - within * (1 / size[several]).mean())
    return float(np.sqrt(max(between, 0.0)))


def course_wide_errors(items: pd.DataFrame, unit: dict[str, float], level: pd.Series) -> pd.DataFrame:
    """By skill, over questions with 200 answers: sd of the error that a course's questions share.

    Beside it that of courses placed at the mean of their level, which is known from nothing but the catalogue.
    """
    found = []
    for skill, rows in items[items["response_count"] >= MANY_ANSWERS].groupby("skill_key"):
        estimated = rows["difficulty"] * unit[str(skill)]
        weight = np.sqrt(rows["response_count"].to_numpy(float))
        slope, start = np.polyfit(rows["planted_difficulty"], estimated, 1, w=weight)
        error = (estimated - start - slope * rows["planted_difficulty"]) / abs(slope)
        of_level = level.reindex(rows["course_key"]).astype(object).fillna("none").to_numpy()
        mean = rows["planted_difficulty"].groupby(of_level).transform("mean")
        found.append(
            {
                "skill_key": skill,
                "shared": shared_error(error, rows["course_key"]),
                "level_alone": shared_error(mean - rows["planted_difficulty"], rows["course_key"]),
            }
        )
    return pd.DataFrame(found, columns=["skill_key", "shared", "level_alone"]).set_index("skill_key").astype(float)


def known_ability_errors(store: Warehouse, items: pd.DataFrame, truth: dict, planted: pd.Series) -> pd.Series:
    """By skill, the shared error that would be left if every ability were known: a logistic regression a question.

    Abilities at an answer are those at the last one less the gains planted since; partial credit counts from half on.
    """
    found = {}
    for skill, rows in items[items["response_count"] >= MANY_ANSWERS].groupby("skill_key"):
        query = f"""
            select responses.learner_key, responses.question_key, responses.category, responses.highest_category,
                responses.answered_on, completed.course_key, completed.learned_on
            from marts.mart_skill_response as responses
            left join features.feature_completed_skill_courses as completed
                on responses.learner_key = completed.learner_key and responses.skill_key = completed.skill_key
            where responses.skill_key = '{skill}' order by all
        """
        frame = pd.concat([batch.to_pandas() for batch in store.batches(query)])
        name = str(skill).split(":")[1]
        gains_of_skill = {course: by_skill.get(name, 0.0) for course, by_skill in truth["course_gains"].items()}
        gain = frame["course_key"].str.split(":").str[1].map(gains_of_skill)
        last = frame.groupby("learner_key")["answered_on"].transform("max")
        since = (frame["learned_on"] >= frame["answered_on"]) & (frame["learned_on"] < last)
        frame["since"] = gain.fillna(0.0).where(since, 0.0)
        keys = ["learner_key", "question_key", "category", "highest_category"]
        answers = frame.drop_duplicates([*keys, "course_key"]).groupby(keys, sort=True)["since"].sum().reset_index()
        answers["place"] = pd.Index(rows["question_key"]).get_indexer(answers["question_key"])
        theta = planted.xs(skill).reindex(answers["learner_key"]).to_numpy() - answers["since"].to_numpy()
        usable = (answers["place"] >= 0).to_numpy() & np.isfinite(theta)
        right = (answers["category"] >= (answers["highest_category"] + 1) // 2).to_numpy(float)[usable]
        difficulty = _logistic_difficulties(answers["place"].to_numpy()[usable], theta[usable], right, len(rows))
        found[skill] = shared_error(pd.Series(difficulty - rows["planted_difficulty"].to_numpy()), rows["course_key"])
    return pd.Series(found, dtype=float)


def _logistic_difficulties(item: np.ndarray, theta: np.ndarray, right: np.ndarray, items: int) -> np.ndarray:
    slope, intercept = np.ones(items), np.zeros(items)
    for _ in range(25):
        p = 1 / (1 + np.exp(-(slope[item] * theta + intercept[item])))
        sums = [
            np.bincount(item, value, items)
            for value in (right - p, (right - p) * theta, p * (1 - p), p * (1 - p) * theta, p * (1 - p) * theta**2)
        ]
        determinant = np.maximum(sums[2] * sums[4] - sums[3] ** 2, 1e-9)
        intercept += np.clip((sums[4] * sums[0] - sums[3] * sums[1]) / determinant, -1, 1)
        slope += np.clip((sums[2] * sums[1] - sums[3] * sums[0]) / determinant, -1, 1)
    return -intercept / slope


def gains(found: pd.DataFrame, truth: dict, unit: dict[str, float]) -> pd.DataFrame:
    """Estimated gains with the planted ones, in planted sds."""
    found = found[found["gain"].notna()].copy()
    skill = found["skill_key"].str.split(":").str[1]
    course = found["course_key"].str.split(":").str[1]
    found["planted"] = [truth["course_gains"][c][s] for c, s in zip(course, skill, strict=True)]
    for name in ("gain", "gain_se", "gain_low", "gain_high"):
        found[name] *= found["skill_key"].map(unit)
    return found


def planted_abilities(truth: Path, settings: Settings) -> pd.Series:
    """Planted ability by (skill_key, learner_key) of the source `campus`, at the last answer."""
    frame = pd.read_parquet(truth.with_name(f"{truth.stem}-abilities.parquet"))
    key = read_key(settings)
    keys = {learner: f"{SOURCE}:{keyed_hash(learner, key)}" for learner in frame["learner_id"].unique()}
    index = [f"{SOURCE}:" + frame["skill_id"], frame["learner_id"].map(keys)]
    return pd.Series(frame["ability"].to_numpy(float), pd.MultiIndex.from_arrays(index))


def with_planted(frame: pd.DataFrame, planted: pd.Series, unit: dict[str, float]) -> pd.DataFrame:
    """The rows with `planted`, in the unit of their skill's bank; its zero point stays the simulator's."""
    value = planted.reindex(pd.MultiIndex.from_frame(frame[["skill_key", "learner_key"]])).to_numpy()
    return frame.assign(planted=value / frame["skill_key"].map(unit).to_numpy())


def shown_abilities(abilities: pd.DataFrame) -> pd.DataFrame:
    """Shown abilities with `inside`: whether the 90 % band holds the planted one, the means of both set equal."""
    rows = abilities[abilities["is_shown"] & abilities["planted"].notna()].copy()
    by = rows.groupby("skill_key")
    rows["planted"] += by["ability"].transform("mean") - by["planted"].transform("mean")
    rows["inside"] = (rows["ability"] - rows["planted"]).abs() <= 1.645 * rows["std_error"]
    return rows


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


def employer_gains(store: Warehouse, truth: dict, unit: dict[str, float]) -> pd.DataFrame:
    """Yearly gains of employers' people with what the courses that they completed in the year planted."""
    rows = store.read("analytics.skill_benchmarks", where="comparison = 'all' and year_gain is not null")
    query = """
        with answered as (
            select responses.learner_key, responses.skill_key, members.organization_key,
                max(responses.answered_on) filter (responses.answered_on <= scales.as_of - 365) as was_on,
                max(responses.answered_on) filter (responses.answered_on > scales.as_of - 365) as is_on
            from marts.mart_skill_response as responses
            inner join analytics.skill_scales as scales on responses.skill_key = scales.skill_key
            inner join analytics.skill_items as items
                on responses.question_key = items.question_key and responses.skill_key = items.skill_key
                and items.slope is not null
            inner join marts.mart_organization_member as members
                on responses.learner_key = members.learner_key and members.is_main
            group by all having was_on is not null and is_on is not null
        )
        select answered.organization_key, answered.skill_key, answered.learner_key, completed.course_key
        from answered left join features.feature_completed_skill_courses as completed
            on answered.learner_key = completed.learner_key and answered.skill_key = completed.skill_key
            and completed.learned_on >= answered.was_on and completed.learned_on < answered.is_on
    """
    taken = pd.concat([batch.to_pandas() for batch in store.batches(query)])
    skill, course = taken["skill_key"].str.split(":").str[1], taken["course_key"].str.split(":").str[1]
    taken["planted"] = [
        truth["course_gains"][c][s] if isinstance(c, str) else 0.0 for c, s in zip(course, skill, strict=True)
    ]
    keys = ["skill_key", "organization_key"]
    by = taken.groupby([*keys, "learner_key"])["planted"].sum().groupby(keys).mean().reset_index()
    rows = rows.merge(by, on=keys)
    for name in ("year_gain", "year_gain_se", "year_gain_low", "year_gain_high"):
        rows[name] = rows[name].astype(float) * rows["skill_key"].map(unit)
    return rows


def report(settings: Settings, truth_path: Path) -> None:
    """Print all tables."""
    truth = json.loads(truth_path.read_text())
    store = Warehouse(settings)
    items = questions(store.read("analytics.skill_items"), truth)
    every = store.read("analytics.skill_items", ["skill_key", "slope", "response_count"])
    unit = units(items)
    level = store.read("core.dim_course", ["course_key", "level"]).set_index("course_key")["level"]
    courses = store.read("analytics.skill_courses")
    courses["level"] = level.reindex(courses["course_key"]).to_numpy()
    wide = course_wide_errors(items, unit, level)
    placed = course_errors(items, courses, unit)
    planted = planted_abilities(truth_path, settings)
    wide["known"] = known_ability_errors(store, items, truth, planted)
    abilities = with_planted(store.read("analytics.skill_abilities"), planted, unit)
    shown = shown_abilities(abilities)
    print(
        "| skill | questions on the scale | of answers | course error | abilities known | level alone "
        "| actual ÷ stated | shown | correlation | band holds | completed none | 1 or 2 | 3 or more |\n"
        + "|---" * 13
        + "|"
    )
    for skill, rows in every.groupby("skill_key"):
        on, of = rows["slope"].notna(), placed[placed["skill_key"] == skill]
        ability = shown[shown["skill_key"] == skill]
        inside = [
            f"{part['inside'].mean():.3f} ({len(part)})"
            for low, high, _ in COMPLETED
            if len(part := ability[ability["completed_course_count"].between(low, high)])
        ]
        print(
            f"| {skill} | {on.mean():.3f} of {len(rows)} "
            f"| {rows.loc[on, 'response_count'].sum() / rows['response_count'].sum():.3f} "
            + "".join(f"| {wide[name].get(skill, np.nan):.3f} " for name in ("shared", "known", "level_alone"))
            + f"| {np.sqrt(((of['error'] / of['std_error']) ** 2).mean()):.2f} | {len(ability):,} "
            f"| {ability['ability'].corr(ability['planted']):.3f} | {ability['inside'].mean():.3f} | "
            + " | ".join(inside)
            + " |"
        )
    ratio = np.sqrt(((placed["error"] / placed["std_error"]) ** 2).mean())
    on = every["slope"].notna()
    of_answers = every.loc[on, "response_count"].sum() / every["response_count"].sum()
    print(
        f"\ncourse error: mean {wide['shared'].mean():.3f}, largest {wide['shared'].max():.3f}; abilities known "
        f"{wide['known'].mean():.3f}, level alone {wide['level_alone'].mean():.3f}. Actual ÷ stated {ratio:.3f}. "
        f"On the scale: {on.mean():.3f} of the questions, {of_answers:.3f} of the answers. "
        f"Bands hold {shown['inside'].mean():.3f} of {len(shown):,}, {shown['learner_key'].nunique():,} learners\n"
    )
    print("| stated error of a course | courses × skills | actual | stated |\n|---|---|---|---|")
    for low, high in pairwise(BANDS):
        part = placed[(placed["std_error"] > low) & (placed["std_error"] <= high)]
        if len(part):
            actual, stated = (np.sqrt((part[name] ** 2).mean()) for name in ("error", "std_error"))
            print(f"| above {low:.2f} to {high:.2f} | {len(part)} | {actual:.3f} | {stated:.3f} |")

    found = gains(store.read("analytics.skill_course_gains"), truth, unit)
    inside = (found["planted"] >= found["gain_low"]) & (found["planted"] <= found["gain_high"])
    print(
        "\n| courses × skills | n | mean planted | mean gain | 95 % interval holds the planted gain |\n"
        "|---|---|---|---|---|"
    )
    for name, rows in (("planted gain zero", found["planted"] == 0), ("planted gain", found["planted"] > 0)):
        part = found[rows]
        if len(part):
            weight = 1 / part["gain_se"] ** 2
            print(
                f"| {name} | {len(part)} | {np.average(part['planted'], weights=weight):.3f} "
                f"| {np.average(part['gain'], weights=weight):.3f} | {inside[rows].mean():.3f} |"
            )
    if len(found) > 2:
        slope, start = np.polyfit(found["planted"], found["gain"], 1, w=1 / found["gain_se"])
        print(f"\ngain = {start:+.3f} + {slope:.3f} × planted gain, {len(found)} courses × skills")

    rows = employer_means(store, planted, unit)
    if len(rows) < 3:
        print("\nemployers: fewer than three are shown")
        return
    # Differences of estimates have errors of known size: weights; the planted mean has none.
    slope, _ = np.polyfit(rows["planted"], rows["mean_ability"].astype(float), 1, w=1 / rows["std_error"].astype(float))
    inside = ((rows["mean_ability"] - rows["planted"]).abs() <= 1.96 * rows["std_error"]).mean()
    correlation = np.corrcoef(rows["planted"], rows["mean_ability"].astype(float))[0, 1]
    print(
        f"\nemployers: estimated mean = {slope:.3f} × planted mean of the same members, {len(rows)} employers × "
        f"skills; correlation {correlation:.3f}, 95 % interval holds the planted mean in {inside:.3f}"
    )
    rows = employer_gains(store, truth, unit)
    inside = (rows["planted"] >= rows["year_gain_low"]) & (rows["planted"] <= rows["year_gain_high"])
    weight = 1 / rows["year_gain_se"] ** 2
    print(
        f"employers' gain of the year: {np.average(rows['year_gain'], weights=weight):.3f}, planted "
        f"{np.average(rows['planted'], weights=weight):.3f}, {len(rows)} employers × skills; 95 % interval holds the "
        f"planted one in {inside.mean():.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True, help="folder with the build database")
    parser.add_argument("--truth", type=Path, required=True, help="the simulator's truth file")
    arguments = parser.parse_args()
    report(Settings(home=arguments.warehouse), arguments.truth)


if __name__ == "__main__":
    main()
