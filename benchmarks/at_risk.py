"""At-risk scores on OULAD: trained on the presentations of 2013, tested on those of 2014, learners still enrolled only.

    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk [--source oulad] [--draws 400] [--tuning]
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --source campus --university TRUTH
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --source campus --speed

Reads the weekly mart of a warehouse in which OULAD is built (`make run SOURCE=oulad LANDING=…`). Intervals are 95 %, by
drawing learners. The first table is for comparison with the literature (2013J ends after 2014B began); the one to claim
is the prospective table: 2014B from 2013B, 2014J from both of 2013. `--tuning` shows 2013B -> 2013J, on which every
choice was made, and leaves 2014 closed.

`--university`: first-year retention in a simulated university (TRUTH is its warehouse/truth/campus.json), AUC by week
beside that of the planted final probability of the same learners: an upper bound, which nobody could know early.
`--speed`: seconds, learners a second and peak memory of training and scoring, on the rows of the warehouse and on
sixteen times as many learners (the same with new keys).
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project import simulate
from dagster_project.analyses.at_risk.scoring import read_active
from dagster_project.analyses.at_risk.subjects import COLUMNS as PIPELINE_COLUMNS
from dagster_project.analyses.at_risk.subjects import PROGRAMS, SUBJECTS
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import WEEKS as BACKTEST_WEEKS
from dagster_project.stats.risk.backtest import splits, stability
from dagster_project.stats.risk.calibration import calibration_error, sampling_calibration_error
from dagster_project.stats.risk.features import COURSE_FEATURES, REASONS
from dagster_project.stats.risk.metrics import bootstrap, measure, ranking_report
from dagster_project.stats.risk.models import MODELS, Feature
from dagster_project.stats.risk.training import Columns, RiskScorer, fit_scorer
from dagster_project.store.warehouse import Warehouse

WEEKS = (0, 2, 4, 6, 8, 12, 16, 20)
OUTCOME = "is_failed_or_withdrawn"
COLUMNS = Columns("course_offering_key", "learner_key")
AIMS = {2: 0.73, 4: 0.77, 6: 0.79, 8: 0.82, 12: 0.845}
# AUC of scikit-learn's boosting and of LightGBM, Brier of the former, trained and tested on the same terms.
REFERENCE = pd.DataFrame(
    {
        "hgb": [0.705, 0.726, 0.765, 0.787, 0.818, 0.842, 0.872, 0.903],
        "lgbm": [0.684, 0.708, 0.745, 0.784, 0.815, 0.841, 0.869, 0.902],
        "logistic": [0.705, 0.714, 0.744, 0.774, 0.799, 0.813, 0.851, 0.887],
        "brier": [0.219, 0.209, 0.197, 0.186, 0.168, 0.154, 0.138, 0.114],
    },
    index=WEEKS,
)
COHORT_GROUP = 200  # learners with similar scores, for the check of the intervals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="oulad")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--tuning", action="store_true", help="2013B -> 2013J only")
    parser.add_argument(
        "--university", type=Path, metavar="TRUTH", help="file with the truth of a simulated university"
    )
    parser.add_argument("--speed", action="store_true", help="time and memory, at once and at sixteen times the size")
    arguments = parser.parse_args()
    if arguments.university:
        beside_the_planted(arguments.source, json.loads(arguments.university.read_text()))
        return
    if arguments.speed:
        time_and_memory(arguments.source)
        return
    rows = read_rows(arguments.source)
    if arguments.tuning:
        earlier, later = of(rows, "2013B"), of(rows, "2013J")
        show("2013B -> 2013J, where every choice was made", [(earlier, later)], arguments.draws)
        features_that_are_left_out(earlier, later)
        return
    both = of(rows, "2013B", "2013J")
    show("2013 -> 2014", [(both, of(rows, "2014B", "2014J"))], arguments.draws)
    prospective = [(of(rows, "2013B"), of(rows, "2014B")), (both, of(rows, "2014J"))]
    show("Prospective, the one to claim: 2014B from 2013B, 2014J from 2013", prospective, arguments.draws)


def read_rows(source: str) -> pd.DataFrame:
    """Weekly rows of learners still enrolled, with the outcome of the course."""
    warehouse = Warehouse(Settings())
    weeks = warehouse.read("marts.mart_learner_course_week", where="source = ?", parameters=[source])
    cohort = weeks.groupby(list(COLUMNS.cohort))
    weeks["left_share"] = 1 - cohort["is_enrolled"].transform("mean")
    starts_on = pd.to_datetime(weeks["as_of_on"]) - pd.to_timedelta(7 * weeks["week_number"], unit="D")
    weeks["start_month"] = starts_on.dt.month
    weeks["term"] = weeks["term_key"].str.rsplit(":", n=1).str[-1]
    columns = ["course_enrollment_key", OUTCOME, "unregistered_day"]
    ends = warehouse.read("marts.mart_learner_course", columns, "source = ? and is_outcome_final", [source])
    rows = weeks[weeks["is_enrolled"]].merge(ends, on="course_enrollment_key")
    return rows.astype({OUTCOME: int})


def of(rows: pd.DataFrame, *terms: str) -> pd.DataFrame:
    return rows[rows["term"].isin(terms)]


def show(title: str, splits: list[tuple[pd.DataFrame, pd.DataFrame]], draws: int) -> None:
    print(f"\n## {title}\n", flush=True)
    scored, scorers = {}, []
    for kind in MODELS:
        parts, seconds = [], 0.0
        for earlier, later in splits:
            start = time.process_time()
            scorer = fit_scorer(earlier, OUTCOME, COURSE_FEATURES, COLUMNS, kind=kind)
            seconds += time.process_time() - start
            parts.append(later.join(scorer.score(later)))
            if kind == "lightgbm":
                scorers.append(scorer)
        scored[kind] = pd.concat(parts)
        print(f"{kind}: trained, calibrated in {seconds:.0f} CPU s", flush=True)
    champion = scored["lightgbm"]
    print_weeks(champion, scored, draws)
    print_reasons(splits, scorers)
    print_intervals(champion)
    by_week = champion.rename(columns={"course_enrollment_key": "enrollment", OUTCOME: "outcome"})
    by_week = by_week.assign(week=by_week["week_number"], withdrawal_day=by_week["unregistered_day"])
    print("\nEach week the highest scores are called (weeks 0 to 20):")
    print(ranking_report(by_week[by_week["week"] <= 20]).round(3).to_string(index=False), flush=True)


def print_weeks(champion: pd.DataFrame, scored: dict[str, pd.DataFrame], draws: int) -> None:
    table, others = [], []
    for week in WEEKS:
        rows = champion[champion["week_number"] == week]
        probability, outcome = rows["probability"].to_numpy(), rows[OUTCOME].to_numpy()
        found = measure(probability, outcome)
        ends = bootstrap(probability, outcome, rows["learner_key"], draws=draws)
        line = {"week": week, "n": found["n"], "base": f"{found['base_rate']:.3f}"}
        for name, digits in (
            ("auc", 3),
            ("auprc", 3),
            ("brier", 3),
            ("calibration_error", 3),
            ("calibration_slope", 2),
        ):
            low, high = ends[name]
            line[name] = f"{found[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        aim = AIMS.get(week)
        reached = (
            "" if aim is None else ("yes" if found["auc"] >= aim else "in interval" if ends["auc"][1] >= aim else "no")
        )
        line |= {
            "aim": aim or "",
            "reached": reached,
            "error by chance": f"{sampling_calibration_error(probability):.3f}",
        }
        for term, part in rows.groupby("term"):
            line[f"error {term}"] = f"{calibration_error(part['probability'], part[OUTCOME]):.3f}"
        table.append(line)
        other = {"week": week}
        for kind, part in scored.items():
            part = part[part["week_number"] == week]
            other[kind] = measure(part["probability"], part[OUTCOME])["auc"]
        new = rows[(rows["earlier_course_count"] == 0) & (rows["previous_attempt_count"] == 0)]
        other["new learners"] = measure(new["probability"], new[OUTCOME])["auc"]
        other |= {f"methods.md {name}": value for name, value in REFERENCE.loc[week].items()}
        others.append(other)
    print("\nLightGBM, calibrated:")
    print(pd.DataFrame(table).to_string(index=False))
    print("\nAUC of all models, of learners new to the university (LightGBM), and the figures to beat:")
    print(pd.DataFrame(others).round(3).to_string(index=False), flush=True)


def print_reasons(splits: list[tuple[pd.DataFrame, pd.DataFrame]], scorers: list[RiskScorer]) -> None:
    earlier, later = splits[-1]
    rows = later[later["week_number"].isin((4, 8, 16))]
    matrix = scorers[-1].encoder.encode(rows)[::10]
    sums = scorers[-1].model.contributions(matrix).sum(axis=1)
    print(f"\nContributions and base against log-odds: {np.abs(sums - scorers[-1].model.log_odds(matrix)).max():.1e}")
    other = fit_scorer(earlier, OUTCOME, COURSE_FEATURES, COLUMNS, seed=7)
    alerted = scorers[-1].score(rows)["probability"].to_numpy() >= 0.5
    jaccard = stability(scorers[-1], other, rows, REASONS, rows=alerted)
    print(f"Top three reasons of two seeds, learners at .5 or more: mean Jaccard {jaccard:.3f}")


def print_intervals(champion: pd.DataFrame) -> None:
    """Groups of learners with similar scores: does the interval hold the frequency, but for sampling?"""
    inside = []
    for _, rows in champion[champion["week_number"].isin(WEEKS)].groupby(["week_number", "term"]):
        ordered = rows.sort_values("probability")
        for part in np.array_split(np.arange(len(ordered)), max(1, len(ordered) // COHORT_GROUP)):
            group = ordered.iloc[part]
            share = group[OUTCOME].mean()
            margin = 1.96 * np.sqrt(share * (1 - share) / len(group))
            inside.append(group["low"].mean() - margin <= share <= group["high"].mean() + margin)
    width = (champion["high"] - champion["low"]).mean()
    print(f"Intervals: {np.mean(inside):.3f} of {len(inside)} groups of {COHORT_GROUP} inside; mean width {width:.3f}")


def features_that_are_left_out(earlier: pd.DataFrame, later: pd.DataFrame) -> None:
    """What gender, age, region and disability would bring, and what the education and deprivation features do."""
    variants = {"as it is": COURSE_FEATURES}
    for column in ("gender", "age_band", "region", "has_disability"):
        variants[f"with {column}"] = (*COURSE_FEATURES, Feature(column, "background", "category"))
    kept = ("education_level", "deprivation_band")
    variants["without education, deprivation"] = tuple(x for x in COURSE_FEATURES if x.column not in kept)
    variants["without ranks"] = tuple(x for x in COURSE_FEATURES if x.kind not in ("rank", "trend"))
    lines = []
    for name, features in variants.items():
        scored = later.join(fit_scorer(earlier, OUTCOME, features, COLUMNS).score(later))
        auc = {
            week: measure(part["probability"], part[OUTCOME])["auc"]
            for week, part in scored.groupby("week_number")
            if week in WEEKS
        }
        lines.append({"features": name, **auc, "mean": np.mean(list(auc.values()))})
    print("\nAUC by week with other features:")
    print(pd.DataFrame(lines).round(4).to_string(index=False))


def beside_the_planted(source: str, truth: dict) -> None:
    """AUC by week of the last matured cohort, beside that of the probability from which its outcomes were drawn."""
    settings = Settings()
    tables = simulate.tables(truth["seed"], truth["students"], with_probability=True)
    key = read_key(settings)
    planted = {
        f"{source}:{keyed_hash(row['learner_id'], key)}": 1 - row["true_probability"]
        for row in tables.learner_program.select(["learner_id", "true_probability"]).to_pylist()
    }
    rows = PROGRAMS.read_matured(Warehouse(settings), source, settings.at_risk_training_learners)
    split = list(splits(rows, "y", PIPELINE_COLUMNS, term="term", starts_on="starts_on", known_on="known_on"))[-1]
    lines: dict[int, dict] = {}
    for kind in MODELS:
        scorer = fit_scorer(split.train, "y", PROGRAMS.features, PIPELINE_COLUMNS, kind=kind)
        scored = split.test.join(scorer.score(split.test))
        for week, part in scored[scored["week_number"].isin(BACKTEST_WEEKS)].groupby("week_number"):
            line = lines.setdefault(week, {"week": week, "n": len(part), "base": part["y"].mean()})
            line[kind] = measure(part["probability"], part["y"])["auc"]
            line["planted"] = measure(part["learner_key"].map(planted), part["y"])["auc"]
    train, test = (part["learner_key"].nunique() for part in (split.train, split.test))
    print(
        f"\nNot retained, cohort {split.name}: {test:,} learners, trained on {train:,} of earlier cohorts. AUC by week:"
    )
    print(pd.DataFrame(lines.values()).round(3).to_string(index=False), flush=True)


def time_and_memory(source: str) -> None:
    lines = []
    for subject in range(len(SUBJECTS)):
        for times in (1, 16):
            # A process of its own: peak memory is the process's.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                lines.append(pool.apply(_measured, (source, subject, times)))
    print(pd.DataFrame(lines).to_string(index=False))


def _measured(source: str, subject: int, times: int) -> dict:
    subject, settings = SUBJECTS[subject], Settings()
    store = Warehouse(settings)
    line = {"outcome": subject.name, "size": f"{times}x"}
    start = time.process_time()
    rows = subject.read_matured(store, source, settings.at_risk_training_learners)
    line["read CPU s"] = round(time.process_time() - start, 1)
    rows = _copies(rows, times)
    start = time.process_time()
    scorer = fit_scorer(rows, "y", subject.features, PIPELINE_COLUMNS, folds=2)
    line |= {"training rows": len(rows), "training CPU s": round(time.process_time() - start, 1)}
    del rows
    line["MiB after training"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    active = _copies(read_active(subject, store, source), times)
    latest = active["is_latest"].to_numpy()
    start = time.process_time()
    scored = scorer.score(active)
    seconds = time.process_time() - start
    start = time.process_time()
    scorer.reasons(active, REASONS, rows=latest & (scored["probability"] >= settings.at_risk_watch_from).to_numpy())
    line |= {"scored learners": int(latest.sum()), "learners/s": round(latest.sum() / seconds)}
    line |= {"reasons CPU s": round(time.process_time() - start, 1)}
    return line | {"peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _copies(rows: pd.DataFrame, times: int) -> pd.DataFrame:
    """The same learners and cohorts again under new keys."""
    keys = ("learner_key", "enrollment_key", "peer_group")
    parts = [rows.assign(**{key: rows[key] + f" {copy}" for key in keys}) for copy in range(times)]
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main()
