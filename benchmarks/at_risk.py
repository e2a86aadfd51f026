"""At-risk scores: every published figure anew, the choices on 2013 of OULAD, the planted optimum, speed.

    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk [--source oulad]
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --pooled
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --tuning
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --source campus --university TRUTH
    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.at_risk --source campus --speed

Without more, the figures of the published `analytics.at_risk_backtest` are computed again by scikit-learn from the
published predictions of each learner and outcomes that SQL written here finds in `core`; they must be equal to the
digit. Printed is the table by week, of every cohort, beside scikit-learn's boosting, the logistic regression and the
rule of seven days.

`--pooled`: learners still enrolled of all weeks together, OULAD's last cohort, beside a random forest on the same
features and the published .839. `--tuning`: 2013B -> 2013J, on which every choice was made. `--university`: first-year
retention in a simulated university (TRUTH is its warehouse/truth/campus.json): who is called by the scores and who
would be by the planted probabilities, which nobody could know in the first weeks, and which know nothing of what came
after the first term. `--speed`: seconds, learners a second and peak memory of
training and scoring on the rows of the warehouse and on rows written for it, four and sixteen times as many.
"""

import argparse
import json
import multiprocessing
import resource
import time
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from dagster_project import simulate
from dagster_project.analyses.at_risk import training
from dagster_project.analyses.at_risk.scoring import MOST_EARLIER_ROWS, _uncontacted, read_active, read_earlier_weeks
from dagster_project.analyses.at_risk.subjects import COLUMNS, COURSES, PROGRAMS, SUBJECTS, Subject
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import Split, backtest, splits
from dagster_project.stats.risk.features import REASONS
from dagster_project.stats.risk.metrics import bootstrap_auc, interval_of
from dagster_project.stats.risk.models import MODELS, Encoder
from dagster_project.stats.risk.rows import Rows, concatenated
from dagster_project.stats.risk.training import draw_training_rows, fit_scorer
from dagster_project.store.warehouse import Warehouse

SHOWN = (0, 2, 4, 6, 8, 12, 16, 20, 28, 36, 44, 52)
AIMS = {2: 0.710, 4: 0.762, 6: 0.782, 8: 0.813, 12: 0.842}  # of OULAD
PUBLISHED_FOREST = 0.839
# What came, from `core` alone and with no word of the marts' SQL.
OUTCOMES = {
    COURSES.name: """
        select course_enrollment_key as enrollment_key, (outcome in ('fail', 'withdrawn'))::int as came
        from core.fct_course_enrollment where outcome is not null
    """,
    PROGRAMS.name: """
        select
            admitted.program_enrollment_key as enrollment_key,
            1 - max((
                taken.course_enrollment_key is not null
                and (taken.unregistered_on is null or taken.last_dropped_on > later.last_drop_on)
            )::int) as came
        from core.fct_program_enrollment as admitted
        inner join core.dim_next_year_term as later on later.term_key = admitted.first_term_key
        left join core.dim_program_offering as offered
            on offered.term_key = later.later_term_key and offered.program_key = admitted.program_key
        left join core.fct_course_enrollment as taken
            on taken.course_offering_key = offered.course_offering_key and taken.learner_key = admitted.learner_key
        group by all
    """,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="oulad")
    parser.add_argument("--pooled", action="store_true", help="all weeks together, beside a random forest")
    parser.add_argument("--tuning", action="store_true", help="2013B -> 2013J only")
    parser.add_argument("--university", type=Path, metavar="TRUTH", help="truth of a simulated university")
    parser.add_argument("--speed", action="store_true", help="time and memory at several sizes")
    parser.add_argument(
        "--times", type=int, nargs="+", default=[1, 4, 16], help="these sizes; 16 takes 10 GiB and more"
    )
    parser.add_argument("--outcome", choices=[subject.name for subject in SUBJECTS], help="of this outcome alone")
    arguments = parser.parse_args()
    pd.set_option("display.width", 250, "display.max_columns", 30, "display.max_rows", 200)
    if arguments.university:
        beside_the_planted(arguments.source, json.loads(arguments.university.read_text()))
    elif arguments.speed:
        time_and_memory(arguments.source, arguments.times, arguments.outcome)
    elif arguments.tuning:
        tune(arguments.source)
    elif arguments.pooled:
        pool_weeks(arguments.source)
    else:
        compute_again(arguments.source)


def compute_again(source: str) -> None:
    """Every figure of the published back-test, and the tables for the benchmarks' page."""
    with duckdb.connect(str(Settings().published_dir / "learning_warehouse.duckdb"), read_only=True) as connection:
        told = connection.execute("from analytics.at_risk_backtest where source = ?", [source]).df()
        for outcome, part in told.groupby("outcome"):
            rows = connection.execute(
                f"select predictions.*, outcomes.came from analytics.at_risk_predictions as predictions "
                f"left join ({OUTCOMES[outcome]}) as outcomes using (enrollment_key) "
                "where source = ? and predictions.outcome = ?",
                [source, outcome],
            ).df()
            print(f"\n## {source}: {outcome}\n")
            differences = _differences(part, rows)
            print(f"{len(part) * len(differences)} figures computed again; largest difference by figure:")
            print("  " + ", ".join(f"{name} {value:.0e}" for name, value in differences.items()))
            assert max(differences.values()) < 1e-9, "a published figure does not follow from the published predictions"
            print_weeks(part, AIMS if source == "oulad" else {})


def _differences(told: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    assert rows["came"].notna().all(), f"{rows['came'].isna().sum()} predictions of learners whose outcome core lacks"
    figures = {
        "n": lambda x: len(x),
        "base_rate": lambda x: x["came"].mean(),
        "auc": lambda x: roc_auc_score(x["came"], x["probability"]),
        "auprc": lambda x: average_precision_score(x["came"], x["probability"]),
        "brier": lambda x: brier_score_loss(x["came"], x["probability"]),
        "calibration_error": _calibration_error,
    }
    key = ["split", "week_number", "model"]
    published = told.set_index(key)
    found = dict.fromkeys(figures, 0.0)
    for place, part in rows.groupby(key):
        line = published.loc[place]
        if pd.notna(line["n_called"]):
            least, most = _called_precision(part)
            missed = max(least - line["called_precision"], line["called_precision"] - most, 0.0)
            found["called_precision"] = max(found.get("called_precision", 0.0), float(missed))
        for name, compute in figures.items():
            found[name] = max(found[name], abs(float(line[name]) - float(compute(part))))
    return found


def _calibration_error(rows: pd.DataFrame) -> float:
    ordered = rows.assign(came=rows.groupby("probability")["came"].transform("mean")).sort_values("probability")
    groups = ordered.groupby(np.repeat(np.arange(10), [len(x) for x in np.array_split(np.arange(len(ordered)), 10)]))
    return float((groups["probability"].mean() - groups["came"].mean()).abs() @ groups.size() / len(ordered))


def _called_precision(rows: pd.DataFrame) -> tuple[float, float]:
    """The least and the most that it can be: of learners of whom all is the same, the choice whom to call is free."""
    least = most = called = 0
    for _, cohort in rows.groupby(["program_key", "peer_group"], dropna=False):
        places = int(np.ceil(round(0.1 * len(cohort), 9)))
        came = cohort["came"].to_numpy()
        pairs = np.column_stack([cohort["probability"], cohort["log_odds"]])
        score = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()  # the higher, the earlier called
        last = np.sort(score)[-places]
        sure, tied = came[score > last], came[score == last]
        free = places - len(sure)
        least += sure.sum() + max(0, free - (tied == 0).sum())
        most += sure.sum() + min(free, tied.sum())
        called += places
    return least / called, most / called


def _is_called(rows: pd.DataFrame) -> pd.Series:
    ordered = rows.sort_values(["probability", "log_odds"], ascending=False, kind="stable")
    groups = ordered.groupby(["program_key", "peer_group"], dropna=False)
    return (groups.cumcount() < np.ceil(0.1 * groups["probability"].transform("size"))).reindex(rows.index)


def print_weeks(told: pd.DataFrame, aims: dict[int, float]) -> None:
    for split, rows in told.groupby("split"):
        of_week = rows[rows["is_champion"]].set_index("week_number")
        others = rows.pivot(index="week_number", columns="model", values="auc")
        table = pd.DataFrame(
            {
                "n": of_week["n"],
                "base": of_week["base_rate"].round(3),
                "AUC": [f"{x.auc:.3f} [{x.auc_low:.3f}, {x.auc_high:.3f}]" for x in of_week.itertuples()],
                "aim": [aims.get(week, "") for week in of_week.index],
                **{kind: others[kind].round(3) for kind in MODELS if kind in others and kind != "lightgbm"},
                "Brier": of_week["brier"].round(3),
                "error": of_week["calibration_error"].round(3),
                "at its level": of_week["calibration_error_levelled"].round(3),
                "by chance": of_week["calibration_error_by_chance"].round(3),
                "slope": of_week["calibration_slope"].round(2),
                "held": [f"{x.groups_in_interval:.0f}/{x.groups:.0f}" for x in of_week.itertuples()],
                "tenth": of_week["called_precision"].round(2),
                "lift": of_week["called_lift"].round(2),
            }
        )
        earlier, champion = int(of_week["earlier_cohorts"].iloc[0]), of_week["model"].iloc[0]
        print(f"\nCohort {split}, {champion} trained on {earlier} earlier ones:")
        print(table[table.index.isin(SHOWN)].to_string())
        late = of_week[of_week.index >= 6]
        if len(late):
            mean = {x: np.average(late[x], weights=late["n"]) for x in late if x.startswith("calibration_error")}
            beyond = mean["calibration_error"] - mean["calibration_error_by_chance"]
            print(
                f"Weeks from 6 on: error beyond chance {beyond:.3f}, aim {0.03 if earlier >= 3 else 0.05}", flush=True
            )


def matured(subject: Subject, source: str) -> Rows:
    rows = subject.read_matured(Warehouse(Settings()), source)
    assert rows is not None, f"no cohort of {source} has matured"
    return rows


def tune(source: str) -> None:
    """2013B -> 2013J: 2014 stays closed."""
    rows = matured(COURSES, source)
    terms = sorted(rows.frame["term"].unique())[:2]
    parts = [rows.take((rows.frame["term"] == term).to_numpy()) for term in terms]
    found = backtest(
        [Split(terms[1], parts[0], parts[1].ordered("peer_group", "week_number", "y"), 1)],
        "y",
        COLUMNS,
        subgroups=(),
        called_among=("peer_group",),
    )
    print_weeks(found.metrics, {})


def pool_weeks(source: str) -> None:
    """All weeks of the last cohort, still enrolled only: ours, and a random forest on the same rows and features."""
    split = list(splits(matured(COURSES, source), "y", COLUMNS, starts_on="starts_on", known_on="known_on"))[-1]
    every_week = COURSES.read(Warehouse(Settings()), f"source = '{source}' and term = '{split.name}'")
    test = COURSES.prepared(every_week)
    test = test.take(test.frame["y"].notna().to_numpy())
    scorer = fit_scorer(draw_training_rows(split.train, "y", COLUMNS))
    encoder = Encoder.fit(split.train, split.train.frame["y"].to_numpy())
    forest = RandomForestClassifier(200, min_samples_leaf=5, n_jobs=1, random_state=0)
    drawn = split.train.drawn(100_000)
    forest.fit(np.nan_to_num(encoder.encode(drawn), nan=-1), drawn.frame["y"])
    of_forest = forest.predict_proba(np.nan_to_num(encoder.encode(test), nan=-1))[:, 1]
    ours = scorer.score(test)["probability"].to_numpy()
    outcome, learner = test.frame["y"].to_numpy(int), test.learners("learner_key", "y")
    draws = bootstrap_auc({"ours": ours, "forest": of_forest}, outcome, learner, draws=200)
    for name, values in (("ours", ours), ("forest", of_forest)):
        low, high = interval_of(draws[name])
        print(f"{name}: AUC {roc_auc_score(outcome, values):.4f} [{low:.4f}, {high:.4f}], {len(ours):,} rows")
    low, high = interval_of(draws["ours"] - draws["forest"])
    print(f"ours less forest, paired: [{low:+.4f}, {high:+.4f}]; published forest: {PUBLISHED_FOREST}")


def beside_the_planted(source: str, truth: dict) -> None:
    """The called tenth of each matured cohort that was predicted, and the tenth by the planted probability."""
    settings = Settings()
    tables = simulate.tables(truth["seed"], truth["students"], with_probability=True)
    key = read_key(settings)
    planted = {
        f"{source}:{keyed_hash(row['learner_id'], key)}": 1 - row["true_probability"]
        for row in tables.learner_program.select(["learner_id", "true_probability"]).to_pylist()
    }
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        rows = connection.execute(
            "select predictions.*, outcomes.came from analytics.at_risk_predictions as predictions "
            "inner join analytics.at_risk_backtest as told using (source, outcome, split, week_number, model) "
            f"inner join ({OUTCOMES[PROGRAMS.name]}) as outcomes using (enrollment_key) "
            "where source = ? and predictions.outcome = ? and told.is_champion",
            [source, PROGRAMS.name],
        ).df()
    rows["planted"] = rows["learner_key"].map(planted)
    assert rows["planted"].notna().all(), "the truth is of another simulation"
    lines = []
    for (split, week), part in rows.groupby(["split", "week_number"]):
        line = {"cohort": split, "week": week, "n": len(part), "base": part["came"].mean()}
        for name, score in (("scores", "probability"), ("planted", "planted")):
            called = _is_called(part.assign(probability=part[score]))
            line[f"AUC {name}"] = roc_auc_score(part["came"], part[score])
            line[f"tenth {name}"] = part.loc[called, "came"].mean()
            line[f"recall {name}"] = part.loc[called, "came"].sum() / part["came"].sum()
        lines.append(line)
    print("Not retained; of the called tenth of each program so many left, and it held so many of those who left:")
    print(pd.DataFrame(lines).round(3).to_string(index=False), flush=True)


def time_and_memory(source: str, sizes: list[int], outcome: str | None) -> None:
    for place, subject in enumerate(SUBJECTS):
        for times in sizes if outcome in (None, subject.name) else []:
            # A process of its own: peak memory is the process's.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                line = pool.apply(_measured, (source, place, times))
            if line:
                print(", ".join(f"{name}: {value}" for name, value in line.items()), flush=True)


def _measured(source: str, subject: int, times: int) -> dict | None:
    subject, settings = SUBJECTS[subject], Settings()
    store = Warehouse(settings)
    line = {"outcome": subject.name, "size": f"{times}x"}
    start = time.process_time()
    rows = subject.read_matured(store, source)
    if rows is None:
        return None
    line["read CPU s"] = round(time.process_time() - start, 1)
    rows = concatenated([_copy(rows, copy) for copy in range(times)])
    registry = store.read("analytics.at_risk_models").iloc[:0]
    training.recounted_leaks = lambda *_: {}  # reads the marts, whose size stays
    training.save_scorer = lambda *_: None
    start = time.process_time()
    trained = training._train(subject, source, rows, settings, registry, datetime(2026, 1, 1))
    line |= {"learners": rows.frame["learner_key"].nunique(), "rows": len(rows)}
    line |= {"training, back-test, challengers, CPU s": round(time.process_time() - start, 1)}
    del rows, trained
    line["MiB after training"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    scorer = fit_scorer(draw_training_rows(subject.read_matured(store, source), "y", COLUMNS))
    active = read_active(subject, store, source)
    if active.empty:
        return line
    earlier = [] if scorer.leaving is None else read_earlier_weeks(subject, store, source, active)
    earlier = [concatenated([_copy(part, copy) for copy in range(times)]).drawn(MOST_EARLIER_ROWS) for part in earlier]
    active = pd.concat([_renamed(_uncontacted(active), copy) for copy in range(times)], ignore_index=True)
    start = time.process_time()
    prepared = subject.prepared(active)
    scored = scorer.score(prepared, earlier)
    seconds = time.process_time() - start
    latest = active["is_latest"].to_numpy()
    start = time.process_time()
    called = latest & (scored["probability"] >= scored.loc[latest, "probability"].quantile(0.75)).to_numpy()
    scorer.reasons(prepared, active, REASONS, explained=called)
    line |= {"scored learners": int(latest.sum()), "learners/s": round(latest.sum() / seconds)}
    line |= {"reasons CPU s": round(time.process_time() - start, 1)}
    return line | {"peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _copy(rows: Rows, copy: int) -> Rows:
    """The same learners and cohorts under new keys, each number off by some: equal rows would be drawn together."""
    noise = np.random.default_rng(copy).normal(1, 0.02, rows.matrix.shape).astype(np.float32)
    return Rows(rows.matrix * (noise if copy else 1), rows.features, _renamed(rows.frame, copy))


def _renamed(frame: pd.DataFrame, copy: int) -> pd.DataFrame:
    return frame.assign(**{key: frame[key] + f" {copy}" for key in ("learner_key", "enrollment_key", "peer_group")})


if __name__ == "__main__":
    main()
