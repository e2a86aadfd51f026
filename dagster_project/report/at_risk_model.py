"""Model card of the at-risk scores: what they are made of, how good they were on cohorts not seen, and for whom."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dagster_project.report.page import document, table

if TYPE_CHECKING:
    from collections.abc import Iterable

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
MEANING = {
    "failed_or_withdrawn": "The learner fails the course, or leaves it before its end.",
    "not_retained": "A year after the first term the learner of a degree program is not enrolled in it.",
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
LEVELS = {
    "fine": "fine",
    "warn": "watch",
    "block": "another population",
    "too few rows": "too few learners to tell",
}
LAST_SCORING = (
    "(source, outcome, scored_at) in "
    "(select (source, outcome, max(scored_at)) from analytics.at_risk_scores group by source, outcome)"
)
OFF_BY = 0.05  # mean probability against what came, from which a group is marked
STYLE = """<style>
.cards { grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 1.6rem; margin: 1rem 0; }
.charts figure { margin: 0; } .charts svg { width: 100%; height: auto; display: block; }
.charts figcaption b { color: var(--ink); display: block; font-size: 1rem; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; fill: #5c6873; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .86rem; color: var(--muted); margin: .3rem 0; }
.key i { display: inline-block; width: 1.1rem; height: .22rem; margin-right: .4rem; vertical-align: 4px; }
.bar { display: inline-block; height: .6rem; background: #b9dccb; border-radius: 2px; margin-right: .45rem; }
td.off { color: #b04a28; font-weight: 600; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 0 2.4rem; }
</style>"""
USE = """<h2 id="use">What it is for, and what it is not for</h2>
<div class="two"><div><h3>For</h3><ul class="plain">
<li>Deciding <b>whom to talk to first</b>, week by week, when a team cannot call everybody.</li>
<li>Beginning the talk well: each score at medium or high risk comes with up to three reasons that somebody can act on.</li>
<li>Seeing early that a cohort goes worse than those before it.</li></ul></div>
<div><h3>Not for</h3><ul class="plain">
<li>Admission, grades, funding, exclusion, or any decision against a learner. A score is no verdict.</li>
<li>Saying <b>why</b> somebody struggles, or what a call will change: a reason is what went along with the outcome in
earlier cohorts. What contacts do is measured by holding a random share out (setting <code>at_risk_holdout_share</code>).</li>
<li>Judging teachers, courses or groups of learners, and nothing automatic: a person reads the list.</li></ul></div></div>
<p class="muted">Gender, age, country and disability are no features. Scores are made as if nobody had been contacted
lately; those contacted in the last 14 days go to the end of the list.</p>"""
METHOD = """<h2 id="method">Method</h2>
<p>One row is a learner still enrolled and a week of term, with what was known at the end of that week: events from the
day they were received, grades from their release. Each cohort shown here was predicted by a model that knows only
cohorts whose outcomes had all matured before it began. Learners are compared with their own cohort in the same week.
Probabilities are calibrated on learners that the model has not seen; the interval of a score is Venn–Abers', widened by
how much cohorts differ. Before a model may score, four things must hold, or its predecessor stays: features do not know
the future, it ranks better than the rule, its probabilities come true, and the last cohort is no other population.</p>
<p class="muted">AUC: the chance that of two learners, one with the outcome and one without, the first is scored higher (.5 is
chance). Calibration error: mean distance of probability and frequency over ten equal bins; right probabilities show the
error "by chance" as well. Slope: 1 is right, below it scores are too extreme. PSI: population stability index.</p>"""
LEAD = "Who is likely to fail or leave, from what was known that week: how good the scores are, for whom, and what they are not for."


def make_page(warehouse: Warehouse) -> str:
    """One section an outcome and source; what could not be computed or was refused is told with its reason."""
    models, *tables = (warehouse.read(name, where=LAST_SCORING if name.endswith("_scores") else None) for name in READS)
    sections, links = [], []
    for (source, outcome), rows in models.sort_values("trained_at", kind="stable").groupby(["source", "outcome"]):
        parts = [part[(part["source"] == source) & (part["outcome"] == outcome)] for part in tables]
        anchor = f"{source}-{outcome}"
        title = OUTCOMES.get(outcome, outcome)
        links.append((anchor, f"{title} ({source})"))
        head = (
            f'<h2 id="{escape(anchor)}">{escape(title)} <span class="muted">{escape(source)}</span></h2>'
            f"<p>{MEANING.get(outcome, '')}</p>"
        )
        sections.append(head + _section(rows, *parts))
    if not sections:
        sections = [
            '<div class="note"><p>No model has been trained: no source has a cohort with enough learners whose outcome '
            "has matured.</p></div>"
        ]
    links = [("use", "What it is for"), *links, ("method", "Method")]
    return document("At-risk scores: model card", LEAD, [STYLE, USE, *sections, METHOD], links=links)


def _section(
    models: pd.DataFrame,
    backtest: pd.DataFrame,
    calibration: pd.DataFrame,
    subgroups: pd.DataFrame,
    ranking: pd.DataFrame,
    drift: pd.DataFrame,
    scores: pd.DataFrame,
) -> str:
    champions = models[models["is_champion"] & models["file"].notna()]
    newest = models.iloc[-1]
    notes = ""
    if champions.empty:
        notes = _note(f"Nobody is scored. {newest['decision']}")
    elif newest["trained_at"] > champions.iloc[-1]["trained_at"]:
        notes = _note(f"The model of {newest['trained_at']:%d %B %Y} may not score. {newest['decision']}")
    last = backtest[backtest["split"] == backtest["split"].max()] if len(backtest) else backtest
    shown = last[last["is_champion"]] if len(last) else last
    if len(last) and shown.empty:  # refused: the evidence is that of the model proposed
        shown = last[last["model"] == newest["model"]]
    return (
        notes
        + _cards(shown, ranking, scores)
        + _charts(last, shown, calibration)
        + _weeks(shown)
        + _subgroups(subgroups)
        + '<div class="two">'
        + f"<div>{_ranking(ranking)}</div><div>{_drift(drift)}</div></div>"
        + ("" if champions.empty else _facts(champions.iloc[-1]))
        + _history(models)
    )


def _note(text: str) -> str:
    return f'<div class="note"><p>{escape(text)}</p></div>'


def _cards(shown: pd.DataFrame, ranking: pd.DataFrame, scores: pd.DataFrame) -> str:
    cards = []
    if len(shown):
        by_week = shown.set_index("week_number")
        early = by_week.index[np.argmin(np.abs(by_week.index - 4))]
        cards.append((f"{by_week.loc[early, 'auc']:.2f}", f"AUC in week {early}", "0.5 is chance, 1 is perfect"))
        error, chance = shown["calibration_error"].mean(), shown["calibration_error_by_chance"].mean()
        cards.append(
            (f"{100 * error:.1f}", "points off, on average", f"calibration error; {100 * chance:.1f} by chance")
        )
    tenth = ranking[np.isclose(ranking["called_share"], 0.10)] if len(ranking) else ranking
    if len(tenth) and len(shown):
        precision, base = tenth["precision"].iloc[0], shown["base_rate"].mean()
        cards.append(
            (
                f"{precision:.0%}",
                "of the tenth called first had the outcome",
                f"{precision / base:.1f} times as many as of all ({base:.0%})",
            )
        )
    if len(scores):
        bands = scores["band"].value_counts()
        cards.append(
            (
                f"{len(scores):,}",
                f"scored on {pd.to_datetime(scores['scored_on'].iloc[0]):%d %B %Y}",
                f"{bands.get('high', 0):,} at high, {bands.get('medium', 0):,} at medium risk",
            )
        )
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{value}</b><span>{escape(words)}</span><small>{escape(small)}</small></div>'
            for value, words, small in cards
        )
        + "</div>"
    )


def _charts(last: pd.DataFrame, shown: pd.DataFrame, calibration: pd.DataFrame) -> str:
    if last.empty:
        return '<p class="muted">No backtest: no matured cohort has another one before it that had matured in time.</p>'
    series = [
        (
            *MODELS[kind],
            rows.sort_values("week_number")[["week_number", "auc"]].to_numpy(float),
            kind in set(shown["model"]),
        )
        for kind, rows in sorted(last.groupby("model"), key=lambda pair: list(MODELS).index(pair[0]))
    ]
    lowest = np.nanmin([points[:, 1].min() for _, _, points, _ in series])
    floor = min(0.5, np.floor(lowest * 10) / 10)
    split = escape(str(last["split"].iloc[0]))
    figures = [
        _figure(
            "How well learners are told apart, by week",
            f"The cohort that began in {split}, predicted by what had matured before it began.",
            _plot(series, "week of term", "AUC", (floor, 1.0)),
            series,
        )
    ]
    if len(calibration):
        rows = calibration.sort_values("bin")
        points = rows[["mean_probability", "frequency"]].to_numpy(float)
        name, color = MODELS[shown["model"].iloc[0]] if len(shown) else MODELS["lightgbm"]
        curve = [
            ("right", "#c4ccd4", np.array([[0.0, 0.0], [1.0, 1.0]]), False),
            (name, color, points, True),
        ]
        figures.append(
            _figure(
                "Whether probabilities come true",
                f"All weeks of that cohort in {len(rows)} bins of as many learners; on the line: as often as was said.",
                _plot(curve, "probability that was said", "share that came", (0.0, 1.0), (0.0, 1.0), has_dots=True),
                curve,
            )
        )
    return f'<div class="charts">{"".join(figures)}</div>'


def _figure(title: str, caption: str, picture: str, series: Iterable[tuple]) -> str:
    key = "".join(f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color, *_ in series)
    return f'<figure><figcaption><b>{title}</b>{caption}</figcaption><div class="key">{key}</div>{picture}</figure>'


def _weeks(shown: pd.DataFrame) -> str:
    if shown.empty:
        return ""
    heads = [("Week", True), ("Learners", True), ("With the outcome", True), ("AUC", True), ("foretold", True)]
    heads += [("AUPRC", True), ("Brier", True), ("Calibration error", True), ("by chance", True), ("Slope", True)]
    rows = []
    for row in shown.sort_values("week_number").itertuples():
        cells = [row.week_number, f"{row.n:,}", _share(row.base_rate), _three(row.auc), _three(row.auc_foretold)]
        cells += [_three(row.auprc), _three(row.brier), _three(row.calibration_error)]
        cells += [_three(row.calibration_error_by_chance), _two(row.calibration_slope)]
        rows.append(_row(cells))
    return f"<details><summary>All figures by week</summary>{table(heads, rows)}</details>"


def _subgroups(subgroups: pd.DataFrame) -> str:
    if subgroups.empty:
        return ""
    week = int(subgroups["week_number"].iloc[0])
    heads = [("Group", False), ("Learners", True), ("Said", True), ("Came", True), ("AUC", True), ("Alerted", True)]
    heads += [("Missed, of those with the outcome", True)]
    rows = []
    for name in sorted(
        subgroups["subgroup"].unique(), key=lambda x: (list(SUBGROUPS).index(x) if x in SUBGROUPS else 99, x)
    ):
        groups = subgroups[subgroups["subgroup"] == name]
        told = groups[groups["base_rate"].notna()].sort_values(["n", "value"], ascending=[False, True])
        few = groups[groups["base_rate"].isna()]
        rows.append(f'<tr class="head"><td colspan="7">{escape(SUBGROUPS.get(name, name))}</td></tr>')
        for row in told.itertuples():
            off = " off" if abs(row.mean_probability - row.base_rate) > OFF_BY else ""
            missed = (
                f"{_share(row.false_negative_rate)} "
                f'<span class="muted">{_share(row.false_negative_low)}–{_share(row.false_negative_high)}</span>'
                if row.n_positive
                else "–"
            )
            width = 0 if pd.isna(row.auc) else max(0.0, row.auc - 0.5) * 8
            rows.append(
                f'<tr><td>{escape(_words(row.value))}</td><td class="number">{row.n:,}</td>'
                f'<td class="number{off}">{_share(row.mean_probability)}</td>'
                f'<td class="number">{_share(row.base_rate)}</td>'
                f'<td class="number"><span class="bar" style="width:{width:.1f}rem"></span>{_three(row.auc)}</td>'
                f'<td class="number">{_share(row.alert_rate)}</td><td class="number">{missed}</td></tr>'
            )
        if len(few):
            counted = few["n"].dropna()
            together = f" with {int(counted.sum()):,} learners together" if len(counted) == len(few) else ""
            rows.append(
                f'<tr><td colspan="7" class="muted">{len(few)} more{together}: too few, so that chance would speak, or '
                "figures from which those of so few would follow</td></tr>"
            )
    return (
        f"<h3>For whom it works, week {week}</h3><p class='muted'>Said: the mean probability; came: the share with the outcome. "
        f"Red: more than {100 * OFF_BY:.0f} points apart. Missed: below the cut-off of band high, with the 95 % interval.</p>"
        + table(heads, rows)
    )


def _ranking(ranking: pd.DataFrame) -> str:
    if ranking.empty:
        return ""
    heads = [
        ("Called each week", False),
        ("with the outcome", True),
        ("of all such", True),
        ("days before leaving", True),
    ]
    heads += [("new each week", True)]
    rows = [
        _row(
            [
                f"{row.called_share:.0%} with the highest scores",
                _share(row.precision),
                _share(row.recall),
                "–" if pd.isna(row.median_days_to_withdrawal) else f"{row.median_days_to_withdrawal:.0f}",
                _share(row.weekly_turnover),
            ],
            words=1,
        )
        for row in ranking.sort_values("called_share").itertuples()
    ]
    return f"<h3>What a team gets that calls a share</h3>{table(heads, rows)}"


def _drift(drift: pd.DataFrame) -> str:
    if drift.empty:
        return ""
    rows = [
        _row([escape(_words(row.feature)), _share(row.importance), _two(row.psi), LEVELS[row.level]], words=1)
        for row in drift.sort_values("psi", ascending=False).head(6).itertuples()
    ]
    heads = [("Drift at the last scoring", False), ("weight", True), ("PSI", True), ("", True)]
    beyond = drift[drift["level"] == "block"]
    weight = beyond["importance"].sum()
    told = (
        f"{len(beyond)} of {len(drift)} beyond the limit of .25, with {weight:.0%} of what moves the score."
        if len(beyond)
        else f"None of {len(drift)} beyond the limit of .25."
    )
    return f"<h3>Whether learners look as before</h3>{table(heads, rows)}<p class='muted'>{told}</p>"


def _facts(champion: pd.Series) -> str:
    features = json.loads(champion["features"])
    facts = {
        "Model": f"{MODELS[champion['model']][0]}, version {champion['model_version']}",
        "Trained": f"{champion['trained_at']:%d %B %Y, %H:%M} UTC on {champion['row_count']:,} weeks of "
        f"{champion['learner_count']:,} learners",
        "Cohorts": f"began {champion['first_cohort']} to {champion['last_cohort']}, all outcomes known",
        "Champion because": champion["decision"],
        f"{len(features)} features": ", ".join(features),
    }
    rows = [f"<tr><td><b>{name}</b></td><td>{escape(str(text))}</td></tr>" for name, text in facts.items()]
    return f"<details><summary>The model that scores</summary>{table([('', False), ('', False)], rows)}</details>"


def _history(models: pd.DataFrame) -> str:
    rows = []
    for trained_at, part in sorted(models.groupby("trained_at"), reverse=True):
        champion = part.loc[part["is_champion"], "model"]
        won = MODELS[champion.iloc[0]][0] if len(champion) else "none"
        rows.append(
            f"<tr><td>{trained_at:%d %B %Y, %H:%M}</td><td>{escape(won)}</td>"
            f"<td>{escape(part['decision'].iloc[0])}</td></tr>"
        )
    heads = [("Trained", False), ("Champion", False), ("Why", False)]
    return f"<details><summary>All trainings ({len(rows)})</summary>{table(heads, rows)}</details>"


def _row(cells: list[object], *, words: int = 0) -> str:
    return (
        "<tr>"
        + "".join(f"<td{'' if place < words else ' class=number'}>{cell}</td>" for place, cell in enumerate(cells))
        + "</tr>"
    )


def _words(name: object) -> str:
    return {"True": "yes", "False": "no"}.get(str(name), str(name).replace("_", " "))


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f} %"


def _two(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _three(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _plot(
    series: list[tuple[str, str, np.ndarray, bool]],
    x_name: str,
    y_name: str,
    y_range: tuple[float, float],
    x_range: tuple[float, float] | None = None,
    *,
    has_dots: bool = False,
) -> str:
    """Inline SVG of lines: each of ``series`` is a name, a colour, points of shape (n, 2) and whether it stands out."""
    width, height, left, bottom, top = 480, 300, 44, 42, 12
    all_x = np.concatenate([points[:, 0] for _, _, points, _ in series])
    low, high = x_range or (float(all_x.min()), float(max(all_x.max(), all_x.min() + 1)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - low) / (high - low) * (width - left - 14)
        return across, top + (y_range[1] - y) / (y_range[1] - y_range[0]) * (height - bottom - top)

    marks = []
    for y in (
        np.arange(round(y_range[0] * 10), round(y_range[1] * 10) + 1, 2 if y_range[1] - y_range[0] > 0.6 else 1) / 10
    ):
        _, at = place(low, y)
        marks.append(f'<line x1="{left}" x2="{width - 14}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e8ec"/>')
        marks.append(f'<text x="{left - 7}" y="{at + 4:.1f}" text-anchor="end">{y:.1f}</text>')
    steps = np.linspace(low, high, 6) if x_range else np.arange(low, high + 1, np.ceil((high - low) / 10))
    for x in steps:
        at, _ = place(x, y_range[0])
        text = f"{x:.1f}" if x_range else f"{x:.0f}"
        marks.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{text}</text>')
    for _, color, points, stands_out in sorted(series, key=lambda one: one[3]):
        there = [place(x, np.clip(y, *y_range)) for x, y in points[np.isfinite(points).all(axis=1)]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in there)
        line = 2.8 if stands_out else 1.6
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{line}" stroke-linejoin="round"/>'
        )
        if stands_out and (has_dots or len(there) < 20):
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{color}" stroke="#fff"/>' for x, y in there]
    middle = (left + width - 14) / 2
    marks.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>')
    marks.append(
        f'<text transform="translate(11 {(height - bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>'
    )
    label = escape(f"{y_name} by {x_name}")
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
