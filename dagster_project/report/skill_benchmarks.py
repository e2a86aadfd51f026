"""Skill benchmarks: where each organization's people stand in each skill, against whom, and which course would help."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from dagster_project.report.page import document

if TYPE_CHECKING:
    from dagster_project.store.warehouse import Warehouse

READS = ("reporting.organization_skills",)
BANDS = (
    ("lagging", 0, 25, "#f3d9cf"),
    ("emerging", 25, 50, "#f6ecd2"),
    ("competitive", 50, 75, "#dcebe0"),
    ("cutting-edge", 75, 100, "#b9dccb"),
)
MARKS = {
    "industry": ("#5b4b8a", "its industry"),
    "country": ("#b7791f", "its country"),
    "size_band": ("#6b7280", "its size"),
}
WIDTH, HEIGHT = 420, 30
MIDDLE = 50
WIDEST_TOLD = 60  # percentiles; a place less certain than this is no standing
STYLE = """<style>
details.org { border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; padding: .2rem 1rem; }
details.org > summary { color: var(--ink); padding: .55rem 0; font-size: 1.02rem; }
details.org > summary b { font-size: 1.12rem; } details.org > summary span { color: var(--muted); }
table.skills td { vertical-align: middle; } table.skills td:first-child { min-width: 10rem; font-weight: 600; }
table.skills svg { display: block; width: 420px; max-width: 100%; height: auto; }
.tag { display: inline-block; padding: .05rem .5rem; border-radius: 9px; font-size: .82rem; white-space: nowrap; }
table.map td { text-align: center; padding: .12rem .2rem; font-size: .82rem; border: 1px solid #fff; min-width: 2.2rem; }
table.map td:first-child { text-align: left; white-space: nowrap; padding-right: .8rem; } table.map thead th { background: none; }
table.map th.turned { vertical-align: bottom; padding: .2rem; } table.map th.turned span { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: 500; white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; align-items: center; font-size: .9rem; margin: .8rem 0; }
.key i { display: inline-block; width: 1.4rem; height: .8rem; border-radius: 3px; margin-right: .35rem; vertical-align: -1px; }
</style>"""


def make_page(warehouse: Warehouse) -> str:
    """The page of all sources; organizations without a figure are counted, not listed."""
    rows = warehouse.read("reporting.organization_skills")
    body = [STYLE]
    shown = rows[rows["is_shown"]]
    if shown.empty:
        body.append(f'<div class="note"><p>{escape(_why_empty(rows))}</p></div>')
        return document("Skill benchmarks", _LEAD, body)
    body += [_how_to_read(), _overview(shown), _map(shown)]
    body.append('<h2 id="organizations">Organizations</h2>')
    names = (
        shown[["organization_name", "organization_key"]]
        .drop_duplicates()
        .sort_values(["organization_name", "organization_key"])
    )
    # The one with most to tell, strengths and gaps, is open: it shows what the others hold.
    clear = _clear(shown[shown["comparison"] == "all"])
    above = clear["organization_percentile"] > MIDDLE
    told = pd.DataFrame({"key": clear["organization_key"], "above": above, "below": ~above}).groupby("key").sum()
    first = told.min(axis=1).sort_index().idxmax() if len(told) else names["organization_key"].iloc[0]
    for key in sorted(names["organization_key"], key=lambda k: (k != first, list(names["organization_key"]).index(k))):
        body.append(_organization(rows[rows["organization_key"] == key], is_open=key == first))
    silent = rows["organization_key"].nunique() - len(names)
    if silent:
        body.append(
            f'<p class="muted">{silent} more organizations have no skill with ten members who answered: nothing is shown of them.</p>'
        )
    body.append(_METHOD)
    return document(
        "Skill benchmarks", _LEAD, body, links=(("read", "How to read it"), ("skills", "By skill"), ("map", "All at a glance"), ("organizations", "Organizations"), ("method", "Method")),
        foot=f"Computed on data up to {pd.to_datetime(shown['computed_on']).max():%d %B %Y}. Learners are pseudonyms; no figure stands for fewer than ten.",
    )  # fmt: skip


_LEAD = "How your people's skills measure up to other organizations' — all, your industry, your country, your size — and which courses would close the gaps."
_METHOD = (
    '<h2 id="method">Method</h2><p>Quiz answers of first attempts are put on one scale per skill by item response theory, '
    "which takes the difficulty of the questions into account: harder courses are no disadvantage. An organization's place "
    "is estimated from all answers of its people at once, not from averaged scores, which would pull all organizations "
    "together; the line is the range in which the true place lies with 90 % probability. Fewer than ten members: nothing is "
    "shown, nor what would give it away by subtraction. Figures change monthly, or when ten members changed.</p>"
    "<p>Recommended courses teach the skill, suit the members' ability now, are not yet taken by most who may, and have a "
    "measured gain: what their learners improved beyond others of equal ability, regression to the mean taken out. A course "
    "of a degree is recommended only where at least ten members are in its program.</p>"
)


def _why_empty(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "No organization has members who answered questions of a skill: the sources carry no employers, skills or answers, or too few learners tie the courses of a skill together."
    return f"{rows['organization_key'].nunique()} organizations, none with ten members who answered questions of one skill: nothing can be shown."


def _how_to_read() -> str:
    zones = "".join(f'<span><i style="background:{color}"></i>{name}</span>' for name, *_, color in BANDS)
    marks = "".join(
        f'<span><i style="background:{color};width:.35rem"></i>against {words}</span>'
        for color, words in MARKS.values()
    )
    return (
        '<h2 id="read">How to read it</h2><p>Each bar runs from the lowest (0) to the highest (100) of the other organizations. '
        "The dark dot is this organization's place among all; the line through it says how sure that is. A long line means: "
        "few people answered, or they differ little from others; the standing is then called unclear.</p>"
        f'<div class="key">{zones}<span><i style="background:#0b3d3a;border-radius:50%;width:.8rem"></i>against all organizations</span>{marks}</div>'
    )


def _overview(shown: pd.DataFrame) -> str:
    every = shown[(shown["comparison"] == "all") & shown["organization_percentile"].notna()]
    lines = []
    for skill, rows in every.groupby("skill_name", sort=True):
        best = rows.sort_values(["organization_percentile", "organization_name"], ascending=[False, True]).iloc[0]
        need = int(rows["first_course_name"].notna().sum())
        lines.append(
            f'<tr><td>{escape(skill)}</td><td class="number">{len(rows)}</td><td class="number">{int(rows["member_count"].sum()):,}</td>'
            f'<td>{escape(best["organization_name"])} ({_ordinal(best["organization_percentile"])})</td><td class="number">{need}</td></tr>'
        )
    return (
        '<h2 id="skills">By skill</h2><div class="scroll"><table><thead><tr><th>Skill</th><th class="number">Organizations shown</th>'
        '<th class="number">Their members</th><th>Highest place</th><th class="number">With a gap and a course for it</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _clear(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose place is certain enough to be a standing."""
    return rows[rows["percentile_high"] - rows["percentile_low"] <= WIDEST_TOLD]


def _anchor(key: str) -> str:
    return "org-" + "".join(letter if letter.isalnum() else "-" for letter in key)


def _map(shown: pd.DataFrame) -> str:
    """Every organization by every skill: the place where it is clear, a dot where it is not, nothing where it is hidden."""
    every = shown[(shown["comparison"] == "all") & shown["organization_percentile"].notna()]
    if every.empty:
        return ""
    skills = sorted(every["skill_name"].unique())
    mean = _clear(every).groupby("organization_key")["organization_percentile"].mean()
    mean = mean.reindex(every["organization_key"].unique(), fill_value=-1.0)  # those without a clear place come last
    head = "".join(f'<th class="turned"><span>{escape(skill)}</span></th>' for skill in skills)
    lines = []
    for key in sorted(mean.index, key=lambda k: (-mean[k], k)):
        rows = every[every["organization_key"] == key].set_index("skill_name")
        clear = set(_clear(rows).index)
        cells = []
        for skill in skills:
            if skill not in rows.index:
                cells.append("<td></td>")
                continue
            place = rows.loc[skill, "organization_percentile"]
            color = next(color for name, *_, color in BANDS if name == rows.loc[skill, "band"])
            cells.append(f'<td style="background:{color}">{place:.0f}</td>' if skill in clear else "<td>·</td>")
        name = escape(rows["organization_name"].iloc[0])
        lines.append(f'<tr><td><a href="#{_anchor(key)}">{name}</a></td>{"".join(cells)}</tr>')
    return (
        '<h2 id="map">All at a glance</h2><p>Place among all other organizations, 0 to 100, the organizations with the '
        "highest places first. A dot: too uncertain to tell from the middle. Empty: fewer than ten members answered, or it "
        'would give such a group away.</p><div class="scroll"><table class="map"><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _organization(rows: pd.DataFrame, *, is_open: bool) -> str:
    one = rows.iloc[0]
    main = rows[rows["comparison"] == "all"].sort_values(
        ["organization_percentile", "skill_name"], ascending=[False, True]
    )
    placed = main[main["organization_percentile"].notna()]
    about = ", ".join(
        escape(str(value).replace("_", " "))
        for value in (one["industry"], one["country"], f"{one['size_band']} employees")
        if pd.notna(value)
    )
    head = f"<b>{escape(one['organization_name'])}</b> <span>{about}</span>"
    told = _clear(placed)
    strong, weak = told[told["organization_percentile"] > MIDDLE], told[told["organization_percentile"] <= MIDDLE]
    words = []
    if len(strong):
        words.append(
            f"strongest: {escape(strong.iloc[0]['skill_name'])} ({_ordinal(strong.iloc[0]['organization_percentile'])})"
        )
    if len(weak):
        words.append(
            f"most to gain: {escape(weak.iloc[-1]['skill_name'])} ({_ordinal(weak.iloc[-1]['organization_percentile'])})"
        )
    plural = "s" if len(main[main["is_shown"]]) > 1 else ""
    words.append(f"{int(main['is_shown'].sum())} skill{plural} shown")
    head += f"<br><span>{' · '.join(words)}</span>"
    lines = []
    for row in main[main["is_shown"]].itertuples():
        others = rows[(rows["skill_key"] == row.skill_key) & rows["comparison"].isin(list(MARKS))]
        courses = [
            c for c in (row.first_course_name, row.second_course_name, row.third_course_name) if isinstance(c, str)
        ]
        picture = (
            _bar(row, others)
            if pd.notna(row.organization_percentile)
            else f'<span class="muted">{escape(str(row.withheld_reason))}</span>'
        )
        advice = "<br>".join(escape(c) for c in courses) or (
            "—"
            if pd.notna(row.members_percentile) and row.members_percentile >= 50
            else '<span class="muted">no course suits yet</span>'
        )
        lines.append(
            f'<tr><td>{escape(row.skill_name)}</td><td>{picture}</td><td>{_tag(row.band, row.percentile_high - row.percentile_low)}</td><td class="number">{int(row.member_count)}</td><td>{advice}</td></tr>'
        )
    hidden = int((~main["is_shown"]).sum())
    note = (
        f'<p class="muted">{hidden} more skill{"s" if hidden > 1 else ""}: too few members answered to show anything.</p>'
        if hidden
        else ""
    )
    table = (
        '<div class="scroll"><table class="skills"><thead><tr><th>Skill</th><th>Place among other organizations</th><th>Standing</th>'
        f'<th class="number">Members</th><th>Courses that would help</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )
    return f'<details class="org" id="{_anchor(one["organization_key"])}"{" open" if is_open else ""}><summary>{head}</summary>{table}{note}</details>'


def _bar(row, others: pd.DataFrame) -> str:
    def x(percentile: float) -> float:
        return 6 + (WIDTH - 12) * percentile / 100

    zones = "".join(
        f'<rect x="{x(low):.1f}" y="7" width="{x(high) - x(low):.1f}" height="16" fill="{color}"/>'
        for _, low, high, color in BANDS
    )
    marks = ""
    spoken = [
        f"{_ordinal(row.organization_percentile)} percentile among all, between {row.percentile_low:.0f} and {row.percentile_high:.0f}"
    ]
    for other in others.itertuples():
        if pd.notna(other.organization_percentile):
            color, words = MARKS[other.comparison]
            at = x(other.organization_percentile)
            marks += f'<line x1="{at:.1f}" x2="{at:.1f}" y1="3" y2="27" stroke="{color}" stroke-width="2.5"/>'
            spoken.append(f"{_ordinal(other.organization_percentile)} in {words}")
    low, high, at = x(row.percentile_low), x(row.percentile_high), x(row.organization_percentile)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape("; ".join(spoken))}"><title>{escape("; ".join(spoken))}</title>'
        f'{zones}{marks}<line x1="{low:.1f}" x2="{high:.1f}" y1="15" y2="15" stroke="#0b3d3a" stroke-width="2"/>'
        f'<circle cx="{at:.1f}" cy="15" r="6.5" fill="#0b3d3a" stroke="#fff" stroke-width="1.5"/></svg>'
    )


def _tag(band: object, width: float) -> str:
    color = next((color for name, *_, color in BANDS if name == band), None)
    if color is None:
        return ""
    if width > WIDEST_TOLD:
        return '<span class="tag muted" title="the range is too wide to tell the place from the middle">unclear</span>'
    return f'<span class="tag" style="background:{color}">{escape(str(band))}</span>'


def _ordinal(percentile: float) -> str:
    n = round(percentile)
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
