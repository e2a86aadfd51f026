"""What goes with staying in a degree: the retention report's drivers with intervals, doubts and all, for a reader at a
university."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from dagster_project.report import driver_figures as figures
from dagster_project.report.driver_figures import contrast_words, interval_words, percent_words
from dagster_project.report.page import document, table
from dagster_project.store.warehouse import Warehouse

READS = (
    "reporting.driver_effects",
    "analytics.driver_effects",
    "analytics.driver_specifications",
    "analytics.driver_dose_response",
    "analytics.driver_placebos",
)
TITLE = "What goes with staying in a degree?"
LEAD = (
    "Thirty things that learners do and courses have, each with the change of first-year retention that goes with it, "
    "an interval that says how sure the figure is, and what the published retention report printed."
)
SURE = 0.05  # Romano-Wolf p below which a driver is a finding among all of them


def make_page(warehouse: Warehouse) -> str:
    """The page, from the tables of `READS`."""
    worded = warehouse.read("reporting.driver_effects", where="program_name is null")
    full = warehouse.read("analytics.driver_effects", where="program_key is null")
    more = [name for name in full.columns if name not in worded.columns or name in ("source", "driver_id")]
    effects = worded.merge(full[more], on=["source", "driver_id"]).sort_values(["source", "position"])
    numbers = effects.select_dtypes("number").columns
    effects[numbers] = effects[numbers].astype("float64")
    others = {name.split("_", 1)[1]: warehouse.read(name) for name in READS[2:]}
    parts, silent = [], []
    for source, rows in effects.groupby("source"):
        if (rows["status"] == "estimated").any():
            tables = {name: frame[frame["source"] == source] for name, frame in others.items()}
            parts += _source(source, rows, tables)
        else:
            silent.append(f"<li><b>{escape(source)}</b>: {escape(rows['reason'].iloc[0])}.</li>")
    if silent:
        parts.append(f'<h2>Sources without an answer</h2><ul class="plain">{"".join(silent)}</ul>')
    if not len(effects):
        parts.append("<p>No driver has been estimated yet.</p>")
    links = [("read", "How to read it"), ("figures", "The figures"), ("doubts", "What a sceptic should ask")]
    links += [("all", "All drivers"), ("not", "What cannot be told")]
    return document(TITLE, LEAD, parts, links=links if len(parts) > 1 else (), foot=FOOT)


FOOT = (
    "Method: double selection after Belloni, Chernozhukov and Hansen (2014), programs held fixed, errors clustered. "
    "Tables behind this page: reporting.driver_effects and analytics.driver_* of the same snapshot. "
    "Printed figures: <i>Drivers of Retention in Online Degree Programs</i>, Coursera."
)


def _source(source: str, rows: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> list[str]:
    estimated = rows[rows["status"] == "estimated"]
    sure = estimated[estimated["romano_wolf_p"] < SURE]
    return [
        _question(source, estimated, sure),
        _cards(sure),
        _reading(estimated),
        _figures(estimated),
        _doubts(estimated, tables),
        _all(rows),
        _missing(rows),
    ]


def _question(source: str, estimated: pd.DataFrame, sure: pd.DataFrame) -> str:
    learners = estimated[estimated["level"] == "learner_program"]["row_count"].max()
    courses = estimated[estimated["level"] == "learner_course"]["row_count"].max()
    base = estimated["outcome_mean"].iloc[0]
    who = f"{learners:,.0f} learners" if pd.notna(learners) else "the learners"
    which = f" and their {courses:,.0f} course enrolments of the first term" if pd.notna(courses) else ""
    return (
        f"<h2>The question</h2><p>Of {who}{which} (source <b>{escape(source)}</b>), <b>{100 * base:.0f} %</b> were "
        "studying again in the term that begins one year after their first. By how much does that share change when one "
        "thing is different, and everything else that was known before it stays as it is?</p>"
        f"<p>Of {len(estimated)} drivers with an answer, <b>{len(sure)}</b> stand out even after allowing for the fact "
        "that many were looked at. The strongest:</p>"
    )


def _cards(sure: pd.DataFrame) -> str:
    if not len(sure):
        return '<p class="note">No driver stands out: every interval is compatible with chance.</p>'
    top = sure.reindex(sure["percent"].abs().sort_values(ascending=False).index).head(6)
    cards = [
        f'<div class="card{" down" if row["percent"] < 0 else ""}"><b>{percent_words(row["percent"])}</b>'
        f"<span>{escape(row['title'])}, {escape(contrast_words(row))}</span>"
        f"<small>95 % interval {interval_words(row)}</small></div>"
        for row in top.to_dict("records")
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _reading(estimated: pd.DataFrame) -> str:
    example = estimated.loc[estimated["percent"].abs().idxmax()]
    low, high = example["outcome_mean"], example["outcome_mean"]
    low += example["effect"] * (example["contrast_low"] - example["driver_mean"])
    high += example["effect"] * (example["contrast_high"] - example["driver_mean"])
    rare = estimated[(estimated["unit"] == "yes_no") & (estimated["level"] == "learner_program")]
    width = rare["percent_std_error"].median() * 2 if len(rare) else 2 * estimated["percent_std_error"].median()
    return (
        '<h2 id="read">How to read it</h2>'
        f"<p><b>The percent.</b> {percent_words(example['percent'])} for “{escape(example['title'])}” means: with the "
        f"driver at its lower end {100 * low:.1f} % of the learners would be retained, at its upper end {100 * high:.1f} %, "
        f"and {100 * high:.1f} is {abs(example['percent']):.1f} % {'more' if high > low else 'less'} than "
        f"{100 * low:.1f}. Percent, not percentage points.</p>"
        "<p><b>The interval.</b> If the study were repeated with other learners and courses, 95 of 100 such intervals "
        f"would hold the true figure. Here a figure for a yes or no is known to about ±{width:.0f} %: an effect of 2 or 3 % "
        "lies at the edge of what these data can show. A grey dot is not “no effect”; it is “not known which way”.</p>"
        '<div class="note"><p><b>Association, not proof.</b> Each figure compares learners, or courses, that are alike in '
        "everything that was recorded before the driver was settled: program, background, registration, open content, "
        "course load, the course’s design. What nobody recorded, such as free time or resolve, is not held. A figure "
        "tells where to look and what to try; only handing something out at random would prove that it works.</p></div>"
    )


def _figures(estimated: pd.DataFrame) -> str:
    parts = [
        '<h2 id="figures">The figures</h2><p>The report’s figures 3 to 11, redrawn. The dot is our figure, the line its '
        "95 % interval, the diamond what the report printed; it printed no intervals, and for many drivers no figure.</p>"
    ]
    for number, title in figures.FIGURES.items():
        rows = estimated[estimated["figure"] == number]
        image = figures.draw_figure(rows, number)
        if image is None:
            parts.append(
                f"<h3>Figure {number}. {title}</h3><p>No driver of this figure can be estimated; see below.</p>"
            )
            continue
        sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in rows["sentence"])
        parts.append(
            f'<h3>Figure {number}. {title}</h3><figure><img src="{image}" alt="{escape(title)}: changes of retention with '
            f'intervals, as listed in words below"></figure>'
            f'<details><summary>In words</summary><ul class="plain">{sentences}</ul></details>'
        )
    return "\n".join(parts)


def _doubts(estimated: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> str:
    titles = dict(zip(estimated["driver_id"], estimated["title"], strict=True))
    units = dict(zip(estimated["driver_id"], estimated["unit"], strict=True))
    parts = ['<h2 id="doubts">What a sceptic should ask</h2>']
    curve = figures.draw_specifications(tables["specifications"], titles)
    if curve:
        parts.append(
            "<h3>Does the figure depend on what is held?</h3><p>Without controls most drivers look better than they are: "
            "learners who do one good thing do others, too. The cross is the bare comparison, the dot the published "
            "figure, the small diamond what comes out when every eligible control is held instead of the selected ones. "
            "Dot and diamond should lie together.</p>"
            f'<figure><img src="{curve}" alt="Effects with other sets of controls"></figure>'
        )
    doses = figures.draw_dose_response(tables["dose_response"], titles, units)
    if doses:
        parts.append(
            "<h3>Is more always more?</h3><p>The published figure is a straight line from low to high. Here the learners "
            "are cut into fifths by the driver; each dot is the retention of a fifth against the lowest one, in "
            "percentage points, with its interval. The broken line is the straight one. An asterisk marks drivers whose "
            "line is bent beyond chance (p &lt; .05; one in twenty would be by luck).</p>"
            f'<figure><img src="{doses}" alt="Retention by fifths of each driver"></figure>'
        )
    parts.append(_hidden(estimated))
    parts.append(_placebos(tables["placebos"]))
    parts.append(_agreement(estimated))
    return "\n".join(parts)


def _hidden(estimated: pd.DataFrame) -> str:
    known = estimated[estimated["robustness_value_of_interval"] > 0]
    known = known.sort_values("robustness_value_of_interval", ascending=False)
    if not len(known):
        return ""
    rows = []
    for row in known.to_dict("records"):
        like = _number(row["percent_with_benchmark_twin"])
        rows.append(
            f"<tr><td>{escape(row['title'])}</td><td class=number>{percent_words(row['percent'])}</td>"
            f"<td class=number>{100 * row['robustness_value']:.1f} %</td>"
            f"<td class=number>{100 * row['robustness_value_of_interval']:.1f} %</td>"
            f"<td>{escape(str(row['benchmark_control']).replace('_', ' '))}</td>"
            f"<td class=number>{100 * row['benchmark_strength']:.2f} %</td><td class=number>{like}</td></tr>"
        )
    heads = [
        ("Driver", False),
        ("Ours", True),
        ("Hidden strength for zero", True),
        ("… for an interval that holds zero", True),
        ("Strongest known control", False),
        ("Its strength", True),
        ("Ours if a twin of it were hidden", True),
    ]
    return (
        "<h3>Could something unseen explain it?</h3><p>To bring a figure to zero, something that nobody recorded would have "
        "to explain the share in the third column of what is left of both the driver and retention; the share in the "
        "fourth would make it uncertain. Beside them stands the control that matters most among those that we see, on "
        "the same scale. In the upper rows something many times as strong would be needed. Where the two come near each "
        "other, treat the figure as a hint.</p>" + table(heads, rows)
    )


def _placebos(placebos: pd.DataFrame) -> str:
    drawn = placebos[placebos["placebo"] != "earlier outcome"]
    if not len(drawn):
        return ""
    words = {
        "program": "Learners’ own (before and during the term)",
        "design": "Course designs",
        "course": "Behaviour of a course",
        "own": "A learner’s behaviour in a course",
    }
    rows = []
    for kind, name in words.items():
        part = drawn[drawn["kind"] == kind]
        if len(part):
            share = part["rejected_count"].sum() / part["draw_count"].sum()
            rows.append(
                f"<tr><td>{name}</td><td class=number>{int(part['draw_count'].sum()):,}</td>"
                f"<td class=number>{100 * share:.1f} %</td></tr>"
            )
    heads = [("Kind of driver", False), ("Placebos", True), ("Looked like an effect", True)]
    return (
        "<h3>Would the method find something where there is nothing?</h3><p>Each driver was handed out anew at random: "
        "courses swapped their designs within a program, learners their behaviour within program and first term. By "
        "chance 5 in 100 such placebos look like an effect. A run whose share lies below 1 or above 10 % is not "
        "published.</p>" + table(heads, rows)
    )


def _agreement(estimated: pd.DataFrame) -> str:
    different = estimated[estimated["is_logit_different"].astype(bool)]
    names = ", ".join(
        f"{escape(row['title'])} ({percent_words(row['logit_percent'])} instead of {percent_words(row['percent'])})"
        for row in different.to_dict("records")
    )
    same = len(estimated) - len(different)
    words = f"For {same} of {len(estimated)} drivers a logistic regression tells the same within its error"
    words += f"; it differs for: {names}." if len(different) else "."
    own = estimated[estimated["course_term_percent"].notna()]
    inside = (own["course_term_percent"] >= own["percent_low"]) & (own["course_term_percent"] <= own["percent_high"])
    if len(own):
        words += (
            f" Comparing only learners of the same course in the same term leaves {int(inside.sum())} of {len(own)} "
            "figures of learners’ behaviour within their interval."
        )
    return f"<h3>Do other ways of counting agree?</h3><p>{words} The table below has both beside each figure.</p>"


def _all(rows: pd.DataFrame) -> str:
    heads = [
        ("Driver", False),
        ("Change", False),
        ("Report", False),
        ("Ours", True),
        ("95 % interval", True),
        ("Percentage points", True),
        ("p, family", True),
    ]
    lines, figure = [], None
    for row in rows.to_dict("records"):
        if row["figure"] != figure:
            figure = row["figure"]
            lines.append(f'<tr class="head"><td colspan="{len(heads)}">{figures.FIGURES[int(figure)]}</td></tr>')
        printed = escape(row["printed_effect"]) if isinstance(row["printed_effect"], str) else "–"
        if row["status"] != "estimated":
            lines.append(
                f"<tr><td>{escape(row['title'])}</td><td></td><td>{printed}</td>"
                f'<td colspan="{len(heads) - 3}">not estimable: {escape(row["reason"])}</td></tr>'
            )
            continue
        is_sure = row["percent_low"] * row["percent_high"] > 0
        kind = ("sure down" if row["percent"] < 0 else "sure") if is_sure else ""
        p_value = "&lt; .001" if row["romano_wolf_p"] < 0.001 else f"{row['romano_wolf_p']:.3f}".lstrip("0")
        lines.append(
            f"<tr><td>{escape(row['title'])}</td><td>{escape(contrast_words(row))}</td><td>{printed}</td>"
            f'<td class="number {kind}">{percent_words(row["percent"])}</td>'
            f"<td class=number>{interval_words(row)}</td>"
            f"<td class=number>{percent_words(row['points']).removesuffix(' %')}</td>"
            f"<td class=number>{p_value}</td></tr>"
        )
    controls = "".join(
        f"<li><b>{escape(row['title'])}</b>: {escape((row['selected_controls'] or 'none').replace('_', ' '))}</li>"
        for row in rows[rows["status"] == "estimated"].to_dict("records")
    )
    return (
        '<h2 id="all">All drivers</h2>'
        + table(heads, lines)
        + "<p class=muted>Coloured: the interval does not hold zero. p, family: chance that any of the drivers looks so "
        "strong without an effect (Romano and Wolf).</p>"
        + "<h3>The same figures, looked at from other sides</h3>"
        + _evidence(rows[rows["status"] == "estimated"])
        + f'<details><summary>Which controls were held</summary><ul class="plain">{controls}</ul></details>'
    )


def _evidence(estimated: pd.DataFrame) -> str:
    heads = [
        ("Driver", False),
        ("Ours", True),
        ("Logit", True),
        ("Same course and term", True),
        ("Without one program", True),
        ("Between programs", True),
        ("Rows", True),
        ("Clusters", True),
        ("Controls held", True),
    ]
    lines = []
    for row in estimated.to_dict("records"):
        ends = [_number(row[f"without_one_program_{end}_percent"]) for end in ("low", "high")]
        programs = "–"
        if pd.notna(row["between_program_percent"]) and row["program_count"] > 1:
            programs = f"± {row['between_program_percent']:.1f} % ({row['program_count']:.0f})"
        lines.append(
            f"<tr><td>{escape(row['title'])}</td><td class=number>{percent_words(row['percent'])}</td>"
            f"<td class=number>{_number(row['logit_percent'])}</td>"
            f"<td class=number>{_number(row['course_term_percent'])}</td>"
            f"<td class=number>{' … '.join(ends)}</td><td class=number>{programs}</td>"
            f"<td class=number>{row['row_count']:,.0f}</td><td class=number>{row['cluster_count']:,.0f}</td>"
            f"<td class=number>{row['selected_control_count']:.0f}</td></tr>"
        )
    return (
        table(heads, lines)
        + "<p class=muted>Without one program: least and largest figure when a program is left out. Between programs: how "
        "far the programs’ true figures differ (standard deviation; in brackets programs with a figure of their own). "
        "Clusters: courses, or programs × first terms; the figures rest on these, not on rows.</p>"
    )


def _missing(rows: pd.DataFrame) -> str:
    missing = rows[rows["status"] != "estimated"]
    limits = rows[rows["excluded_beyond_percent"].notna()].sort_values("excluded_beyond_percent")
    parts = ['<h2 id="not">What cannot be told</h2>']
    if len(missing):
        items = "".join(
            f"<li><b>{escape(r['title'])}</b>: {escape(r['reason'])}.</li>" for r in missing.to_dict("records")
        )
        parts.append(f'<p>These drivers have no figure, and why:</p><ul class="plain">{items}</ul>')
    else:
        parts.append("<p>Every driver of the catalogue has a figure.</p>")
    if len(limits):
        items = "".join(
            f"<li>{escape(row['title'])}: an effect beyond ±{row['excluded_beyond_percent']:.1f} % is excluded.</li>"
            for row in limits.to_dict("records")
        )
        parts.append(
            "<p>Where the interval holds zero, this is how much the data do exclude (at 95 %):</p>"
            f'<ul class="plain">{items}</ul>'
        )
    parts.append(
        "<p>And what no figure here tells: what would happen if everybody changed at once; how it is after the first "
        "year; for learners of programs that are not among these. Drivers that share a chart are not to be added up: "
        "each figure is that of one driver with its own controls.</p>"
    )
    return "\n".join(parts)


def _number(value: Any) -> str:
    return "–" if pd.isna(value) else percent_words(value)
