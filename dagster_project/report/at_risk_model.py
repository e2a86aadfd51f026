"""Model card of the at-risk scores: what they are made of, how good they were on cohorts not seen, and for whom."""

import json
from html import escape

import numpy as np
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
    "not_retained": "Not retained in the first year of a degree program",
}
MODELS = {
    "lightgbm": "LightGBM",
    "logistic": "Logistic regression",
    "hist_gradient_boosting": "scikit-learn's boosting (yardstick)",
    "seven_day_rule": "No visit for seven days (floor)",
}
COLOURS = {
    "lightgbm": "#1f5fa8",
    "logistic": "#2a8a5c",
    "hist_gradient_boosting": "#b0741a",
    "seven_day_rule": "#8a8a8a",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d9dee4; text-align: right }
th:first-child, td:first-child { text-align: left } th { background: #f2f5f8 }
svg text { font: 12px system-ui, sans-serif; fill: #45525f } .note { color: #5a6773 }
"""


def make_page(warehouse: Warehouse) -> str:
    """One section an outcome and source; what could not be computed is told with its reason."""
    models, backtest, calibration, subgroups, ranking, drift, scores = (warehouse.read(table) for table in READS)
    sections = []
    for (source, outcome), rows in models.sort_values("trained_at").groupby(["source", "outcome"]):

        def part(table: pd.DataFrame, source=source, outcome=outcome) -> pd.DataFrame:
            return table[(table["source"] == source) & (table["outcome"] == outcome)]

        champions = rows[rows["is_champion"] & rows["file"].notna()]
        if champions.empty:
            continue
        sections.append(
            f"<h2>{escape(OUTCOMES.get(outcome, outcome))} ({escape(source)})</h2>"
            + _card(champions.iloc[-1], part(scores))
            + _metrics(part(backtest))
            + _curve(part(calibration))
            + _subgroups(part(subgroups))
            + _ranking(part(ranking))
            + _drift(part(drift))
        )
    if not sections:
        sections = [
            "<p>No model has been trained: no source has a cohort with enough learners whose outcome has matured.</p>"
        ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>At-risk scores: model card</title>"
        f"<style>{STYLE}</style></head><body><h1>At-risk scores: model card</h1>"
        "<p>A score is the probability that a learner who is still enrolled fails or leaves, from what was known at "
        "the end of a week of term. It says whom to talk to first. It is no verdict, and no cause: a reason is what "
        "the model has seen together with the outcome. Gender, age, country and disability are no features.</p>"
        + "".join(sections)
        + "</body></html>"
    )


def _card(champion: pd.Series, scores: pd.DataFrame) -> str:
    lines = {
        "Model": f"{MODELS[champion['model']]}, version {champion['model_version']}",
        "Trained": f"{champion['trained_at']:%Y-%m-%d %H:%M} UTC",
        "Cohorts": f"started {champion['first_cohort']} to {champion['last_cohort']}, all outcomes known",
        "Rows": f"{champion['row_count']:,} learner-weeks of {champion['learner_count']:,} learners",
        "Champion because": champion["decision"],
        "Scored last": f"{scores['enrollment_key'].nunique():,} learners" if len(scores) else "nobody is active",
        "Features": ", ".join(json.loads(champion["features"])),
    }
    rows = "".join(
        f"<tr><td>{name}</td><td style='text-align:left'>{escape(str(x))}</td></tr>" for name, x in lines.items()
    )
    return f"<table>{rows}</table>"


def _metrics(backtest: pd.DataFrame) -> str:
    if backtest.empty:
        return "<p class='note'>No backtest: no matured cohort has another one before it that had matured in time.</p>"
    last = backtest[backtest["split"] == backtest["split"].max()]
    champion = last[last["is_champion"]].sort_values("week_number")
    table = champion[["week_number", "n", "base_rate", "auc", "auprc", "brier", "calibration_error"]].copy()
    table["by chance"] = champion["calibration_error_by_chance"]
    table["slope"] = champion["calibration_slope"]
    table.columns = [
        "week",
        "learners",
        "base rate",
        "AUC",
        "AUPRC",
        "Brier",
        "calibration error",
        "by chance",
        "slope",
    ]
    series = {
        MODELS[kind]: (COLOURS[kind], rows.sort_values("week_number")[["week_number", "auc"]].to_numpy(float))
        for kind, rows in last.groupby("model")
    }
    title = (
        f"<h3>The cohort of {escape(str(last['split'].iloc[0]))}, predicted by what had matured before it began</h3>"
    )
    return title + _lines(series, "week of term", "AUC", (0.5, 1.0)) + _table(table)


def _curve(calibration: pd.DataFrame) -> str:
    if calibration.empty:
        return ""
    points = calibration.sort_values("bin")[["mean_probability", "frequency"]].to_numpy(float)
    series = {"right": ("#c4ccd4", np.array([[0.0, 0.0], [1.0, 1.0]])), "the scores": (COLOURS["lightgbm"], points)}
    return "<h3>Calibration, all weeks</h3>" + _lines(series, "probability", "frequency", (0.0, 1.0), (0.0, 1.0))


def _subgroups(subgroups: pd.DataFrame) -> str:
    if subgroups.empty:
        return ""
    names = ["subgroup", "value", "n", "base_rate", "mean_probability", "auc", "calibration_error", "alert_rate"]
    table = subgroups[[*names, "false_negative_rate", "false_negative_low", "false_negative_high"]]
    table = table.rename(columns=lambda name: name.replace("_", " "))
    week = int(subgroups["week_number"].iloc[0])
    return (
        f"<h3>Subgroups, week {week}</h3><p class='note'>False negatives: those with the outcome below the "
        f"cut-off of band high, with its 95 % interval. Groups under 50 learners show no figures.</p>{_table(table)}"
    )


def _ranking(ranking: pd.DataFrame) -> str:
    if ranking.empty:
        return ""
    names = ["called_share", "precision", "recall", "median_days_to_withdrawal", "weekly_turnover"]
    table = ranking[names].rename(columns=lambda name: name.replace("_", " "))
    return "<h3>When each week the highest scores are called</h3>" + _table(table)


def _drift(drift: pd.DataFrame) -> str:
    if drift.empty:
        return ""
    table = drift.sort_values("psi", ascending=False)[["feature", "psi", "level", "n_expected", "n_actual"]].head(8)
    return "<h3>Drift at the last scoring, largest first</h3>" + _table(
        table.rename(columns=lambda x: x.replace("_", " "))
    )


def _table(table: pd.DataFrame) -> str:
    def shown(value: object) -> str:
        if pd.isna(value):
            return "–"
        if isinstance(value, float):
            return f"{value:.0f}" if abs(value) >= 10 else f"{value:.3f}"
        return escape(f"{value:,}" if isinstance(value, int | np.integer) else str(value))

    head = "".join(f"<th>{escape(str(name))}</th>" for name in table)
    body = "".join(
        "<tr>" + "".join(f"<td>{shown(value)}</td>" for value in row) + "</tr>" for row in table.itertuples(index=False)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _lines(
    series: dict[str, tuple[str, np.ndarray]],
    x_name: str,
    y_name: str,
    y_range: tuple[float, float],
    x_range: tuple[float, float] | None = None,
) -> str:
    """Inline SVG of lines; each value of ``series`` is a colour and points of shape (n, 2)."""
    width, height, left, bottom = 640, 300, 50, 40
    all_x = np.concatenate([points[:, 0] for _, points in series.values()])
    low, high = x_range or (float(all_x.min()), float(max(all_x.max(), all_x.min() + 1)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - low) / (high - low) * (width - left - 10)
        return across, 10 + (y_range[1] - y) / (y_range[1] - y_range[0]) * (height - bottom - 10)

    marks = []
    for y in np.linspace(*y_range, 6):
        _, at = place(low, y)
        marks.append(f"<line x1='{left}' x2='{width - 10}' y1='{at:.1f}' y2='{at:.1f}' stroke='#e4e8ec'/>")
        marks.append(f"<text x='{left - 8}' y='{at + 4:.1f}' text-anchor='end'>{y:.1f}</text>")
    for x in np.linspace(low, high, 6):
        at, _ = place(x, y_range[0])
        text = f"{x:.0f}" if high > 2 else f"{x:.1f}"
        marks.append(f"<text x='{at:.1f}' y='{height - bottom + 18}' text-anchor='middle'>{text}</text>")
    legend = []
    for name, (colour, points) in series.items():
        shown = points[np.isfinite(points).all(axis=1)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(x, np.clip(y, *y_range)) for x, y in shown))
        marks.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        legend.append(f"<span style='color:{colour}'>&#9632;</span> {escape(name)}")
    marks.append(f"<text x='{(left + width) / 2}' y='{height - 4}' text-anchor='middle'>{escape(x_name)}</text>")
    marks.append(f"<text x='4' y='{height - bottom + 18}'>{escape(y_name)}</text>")
    picture = f"<svg viewBox='0 0 {width} {height}' width='{width}' role='img'>{''.join(marks)}</svg>"
    return f"<p class='note'>{' &nbsp; '.join(legend)}</p>{picture}"
