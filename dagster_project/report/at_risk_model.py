"""Model card of the at-risk scores: what they are made of, how good they were on cohorts not seen, and for whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagster_project.report.line_chart import draw_lines
from dagster_project.report.page import About, is_missing, records, render
from dagster_project.stats.risk.calibration import CALIBRATED_FROM_WEEK, aim_of

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

READS = (
    "analytics.at_risk_models",
    "analytics.at_risk_backtest",
    "analytics.at_risk_calibration",
    "analytics.at_risk_subgroups",
    "analytics.at_risk_ranking",
    "analytics.at_risk_drift",
    "analytics.at_risk_scores",
)
OUTCOMES = {
    "failed_or_withdrawn": "Course failed or left",
    "not_retained": "Not retained in the first year",
}
WOULD_HAVE = {
    "failed_or_withdrawn": "would have failed or left the course",
    "not_retained": "would not have come back a year later",
}
MODELS = {
    "lightgbm": ("LightGBM", "#0b6e63"),
    "logistic": ("Logistic regression", "#5b4b8a"),
    "hist_gradient_boosting": ("scikit-learn's boosting (yardstick)", "#b7791f"),
    "seven_day_rule": ("No visit for seven days (the rule to beat)", "#8a949d"),
}
SUBGROUPS = {
    "gender": "Gender",
    "age_group": "Age at the start",
    "region": "Region",
    "education_level": "Education on entry",
    "has_disability": "Disability",
}
LAST_SCORING = (
    "(source, outcome, scored_at) in "
    "(select (source, outcome, max(scored_at)) from analytics.at_risk_scores group by source, outcome)"
)
OFF_BY = 0.05  # mean probability against what came, from which a group is marked
FEATURES_SHOWN = 6  # of the drift


def make_page(warehouse: Warehouse, about: About | None = None) -> str:
    """One section an outcome and source; what could not be computed or was refused is told with its reason."""
    about = about or About()
    models, *tables = (warehouse.read(name, where=LAST_SCORING if name.endswith("_scores") else None) for name in READS)
    stale = {source.name: source.why_stale for source in about.sources}
    sections = []
    for _, rows in models.sort_values("trained_at", kind="stable").groupby(["source", "outcome"]):
        source, outcome = rows["source"].iloc[0], rows["outcome"].iloc[0]
        parts = [part[(part["source"] == source) & (part["outcome"] == outcome)] for part in tables]
        told = _section(rows, *parts)
        if told["tenth"]:
            told["worth"] = say_what_calls_give(outcome, told["tenth"]["precision"], told["tenth"]["base"])
        sections.append(
            {
                "worth": "",
                "anchor": f"{source}-{outcome}",
                "source": source,
                "outcome": outcome,
                "title": OUTCOMES.get(outcome, outcome),
                "why_stale": stale.get(source, ""),
                **told,
            }
        )
    return render("at_risk_model.html", about, sections=sections, off_by=OFF_BY)


def _section(
    models: pd.DataFrame,
    backtest: pd.DataFrame,
    calibration: pd.DataFrame,
    subgroups: pd.DataFrame,
    ranking: pd.DataFrame,
    drift: pd.DataFrame,
    scores: pd.DataFrame,
) -> dict:
    champions = models[models["is_champion"] & models["file"].notna()]
    newest = models.iloc[-1]
    last = backtest[backtest["split"] == backtest["split"].max()] if len(backtest) else backtest
    shown = last[last["is_champion"]] if len(last) else last
    if len(last) and shown.empty:  # refused: the evidence is that of the model proposed
        shown = last[last["model"] == newest["model"]]
    is_refused = len(champions) > 0 and newest["trained_at"] > champions.iloc[-1]["trained_at"]
    return {
        "is_nobody_scored": champions.empty,
        "refused": {"trained_at": newest["trained_at"], "decision": newest["decision"]} if is_refused else None,
        "decision": newest["decision"],
        "early": _early(shown),
        "tenth": _tenth(shown, ranking),
        "scored": _scored(scores),
        "split": str(last["split"].iloc[0]) if len(last) else "",
        "figures": _figures(last, shown, _of_split(calibration, last)) if len(last) else [],
        "weeks": records(shown.sort_values("week_number")) if len(shown) else [],
        "week": int(subgroups["week_number"].iloc[0]) if len(subgroups) else 0,
        "cohorts": _cohorts(backtest, shown),
        "calibrated_from": CALIBRATED_FROM_WEEK,
        "subgroups": _subgroups(subgroups),
        "ranking": records(ranking.sort_values("called_share")) if len(ranking) else [],
        "drift": _drift(drift),
        "champion": None if champions.empty else _champion(champions.iloc[-1]),
        "trainings": _trainings(models),
    }


def _of_split(calibration: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    return calibration[calibration["split"] == last["split"].iloc[0]]


def _cohorts(backtest: pd.DataFrame, shown: pd.DataFrame) -> list[dict]:
    """How the kind of model that is shown did on each cohort, oldest first."""
    if shown.empty:
        return []
    found = []
    for split, rows in backtest[backtest["model"] == shown["model"].iloc[0]].groupby("split"):
        late = rows[rows["week_number"] >= CALIBRATED_FROM_WEEK]
        late = late if len(late) else rows
        names = ("calibration_error", "calibration_error_by_chance", "calibration_error_levelled", "calibration_slope")
        off, by_chance, levelled, slope = (_mean(late[name], late["n"]) for name in names)
        aim = aim_of(int(rows["earlier_cohorts"].iloc[0]))
        line = {"split": split, "n": int(rows["n"].max()), "earlier": int(rows["earlier_cohorts"].iloc[0])}
        line |= {"auc": rows["auc"].mean(), "off": off, "by_chance": by_chance, "levelled": levelled, "slope": slope}
        line |= {"aim": aim, "is_missed": off - by_chance > aim, "lift": rows["called_lift"].mean()}
        line |= {"groups": int(rows["groups"].sum()), "held": int(rows["groups_in_interval"].sum())}
        found.append(line)
    return found


def _mean(values: pd.Series, weights: pd.Series) -> float:
    known = values.notna()
    return float((values * weights)[known].sum() / weights[known].sum()) if known.any() else float("nan")


def _early(shown: pd.DataFrame) -> dict | None:
    """How well learners are told apart in week 4, or the nearest to it, and how far probabilities are off."""
    if shown.empty:
        return None
    early = shown.iloc[(shown["week_number"] - 4).abs().argmin()]
    return {
        "week": early["week_number"],
        "auc": early["auc"],
        "off": shown["calibration_error"].mean(),
        "by_chance": shown["calibration_error_by_chance"].mean(),
    }


def _tenth(shown: pd.DataFrame, ranking: pd.DataFrame) -> dict | None:
    """What calling the tenth with the highest scores gives."""
    tenth = ranking[(ranking["called_share"] - 0.10).abs() < 1e-6] if len(ranking) else ranking
    if tenth.empty or shown.empty:
        return None
    precision, base = float(tenth["precision"].iloc[0]), float(shown["base_rate"].mean())
    return {"precision": precision, "base": base, "recall": float(tenth["recall"].iloc[0])}


def say_what_calls_give(outcome: str, precision: float, base: float) -> str:
    """What a call list is worth, as a sentence: of 10 called how many had the outcome, and of 10 drawn at random."""
    called = 10 if abs(precision - base) >= 0.1 else 100  # rounding would make less than one in ten zero or one
    would = WOULD_HAVE.get(outcome, "would have had the outcome")
    return (
        f"Of {called} called, {round(called * precision)} {would}; of {called} drawn at random, {round(called * base)}."
    )


def _scored(scores: pd.DataFrame) -> dict | None:
    """The last scoring: how many, from which data, when."""
    import pandas as pd

    if scores.empty:
        return None
    bands = scores["band"].value_counts()
    return {
        "count": len(scores),
        "high": int(bands.get("high", 0)),
        "medium": int(bands.get("medium", 0)),
        # What became known on that day or later is in no score.
        "known_until": pd.to_datetime(scores["as_of_on"]).max() - pd.Timedelta(days=1),
        "scored_on": pd.to_datetime(scores["scored_on"].iloc[0]),
    }


def _figures(last: pd.DataFrame, shown: pd.DataFrame, calibration: pd.DataFrame) -> list[dict]:
    """AUC by week and, where there is one, the calibration curve of the last backtest: drawing and key."""
    import numpy as np

    by_model = {str(kind): rows for kind, rows in last.groupby("model")}
    series = [
        (
            *MODELS[kind],
            rows.sort_values("week_number")[["week_number", "auc"]].to_numpy(float),
            kind in set(shown["model"]),
        )
        for kind, rows in sorted(by_model.items(), key=lambda pair: list(MODELS).index(pair[0]))
    ]
    lowest = np.nanmin([points[:, 1].min() for _, _, points, _ in series])
    floor = min(0.5, np.floor(lowest * 10) / 10)
    drawn = [(draw_lines(series, "week of term", "AUC", (floor, 1.0)), series)]
    if len(calibration):
        points = calibration.sort_values("bin")[["mean_probability", "frequency"]].to_numpy(float)
        name, color = MODELS[shown["model"].iloc[0]] if len(shown) else MODELS["lightgbm"]
        curve = [("right", "#c4ccd4", np.array([[0.0, 0.0], [1.0, 1.0]]), False), (name, color, points, True)]
        axes = ("probability that was said", "share that came", (0.0, 1.0), (0.0, 1.0))
        drawn.append((draw_lines(curve, *axes, has_dots=True), curve))
    return [
        {"picture": picture, "key": [(name, color) for name, color, *_ in lines], "bins": len(calibration)}
        for picture, lines in drawn
    ]


def _subgroups(subgroups: pd.DataFrame) -> list[dict]:
    """By characteristic: the groups that are told, and how many are too small for it."""
    found = []
    known = list(SUBGROUPS)
    for name in sorted(subgroups["subgroup"].unique(), key=lambda x: (known.index(x) if x in known else 99, x)):
        groups = subgroups[subgroups["subgroup"] == name]
        few = groups[groups["base_rate"].isna()]
        counted = few["n"].dropna()
        told = groups[groups["base_rate"].notna()].sort_values(["n", "value"], ascending=[False, True])
        found.append(
            {
                "title": SUBGROUPS.get(name, name),
                "groups": [
                    row
                    | {
                        "is_off": abs(row["mean_probability"] - row["base_rate"]) > OFF_BY,
                        "bar": 0 if is_missing(row["auc"]) else max(0.0, row["auc"] - 0.5) * 8,
                    }
                    for row in records(told)
                ],
                "few": len(few),
                "together": int(counted.sum()) if len(few) and len(counted) == len(few) else None,
            }
        )
    return found


def _drift(drift: pd.DataFrame) -> dict | None:
    if drift.empty:
        return None
    beyond = drift[drift["level"] == "block"]
    return {
        "features": records(drift.sort_values("psi", ascending=False).head(FEATURES_SHOWN)),
        "count": len(drift),
        "beyond": len(beyond),
        "weight": beyond["importance"].sum(),
    }


def _champion(champion: pd.Series) -> dict:
    return champion.to_dict() | {
        "name": MODELS[champion["model"]][0],
        "features": json.loads(champion["features"]),
    }


def _trainings(models: pd.DataFrame) -> list[dict]:
    found = []
    for trained_at, part in sorted(models.groupby("trained_at"), reverse=True):
        champion = part.loc[part["is_champion"], "model"]
        won = MODELS[champion.iloc[0]][0] if len(champion) else "none"
        found.append({"trained_at": trained_at, "champion": won, "decision": part["decision"].iloc[0]})
    return found
