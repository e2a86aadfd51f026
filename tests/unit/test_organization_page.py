"""An organization's own page: its place in every group or the reason, its gaps and courses, and nobody else's name."""

import re

import numpy as np
import pandas as pd
import pytest

from dagster_project.report import organization_page
from dagster_project.report.page import About
from dagster_project.stats.skills.benchmarks import COMPARISONS, TELLS_OF_FEW

ORGANIZATION = {"organization_key": "uni:A", "organization_name": "Acme", "industry": "public_sector", "country": "ES"}
FEW = "4 other organizations to compare with; at least 5 are needed"


class Made:
    def __init__(self, **tables):
        self.tables = tables

    def read(self, table):
        return self.tables[table.partition(".")[2]]


def row(skill, comparison, place=None, band=None, *, others=9, reason=None, shown=True):
    figures = dict.fromkeys(
        ["organization_percentile", "percentile_low", "percentile_high", "members_percentile"], np.nan
    )
    if place is not None:
        figures = {"organization_percentile": place, "percentile_low": place - 8, "percentile_high": place + 8}
        figures |= {"members_percentile": place / 2 + 25}
    traits = COMPARISONS[comparison]
    compared = {
        f"compared_{trait}": value if trait in traits else None
        for trait, value in (("industry", "public_sector"), ("country", "ES"), ("size_band", None))
    }
    return (
        {"organization_key": "uni:A", "skill_key": f"uni:{skill}", "skill_name": skill, "comparison": comparison}
        | {"is_shown": shown, "withheld_reason": reason, "member_count": 24.0 if shown else np.nan, "band": band}
        | {"organization_count": float(others) if shown else np.nan}
        | compared
        | figures
    )


@pytest.fixture
def tables():
    unknown = [
        row("SQL", comparison, others=0, reason=f"{' or '.join(traits).replace('_', ' ')} not known")
        for comparison, traits in COMPARISONS.items()
        if "size_band" in traits
    ]
    gained = {"year_gain": 0.424, "year_gain_low": 0.3, "year_gain_high": 0.548, "year_gain_member_count": 14.0}
    benchmarks = [
        row("SQL", "all", 82, "cutting-edge", others=40) | gained,
        row("SQL", "industry", 60, "not yet clear"),
        row("SQL", "country", others=4, reason=FEW),
        row("SQL", "industry_country", others=6, reason=TELLS_OF_FEW),
        *unknown,
        row("Python", "all", 16, "lagging"),
        row("Law", "all", 30, "emerging"),
        row("Art", "all", shown=False, reason="too few members with answers in the skill"),
    ]
    gap = {"skill_key": "uni:Python", "rank": 1, "course_key": "uni:C1", "expected_gain": 0.314, "gain_low": 0.1}
    gap |= {"gain_high": 0.5, "expected_score_share": 0.62, "not_taken_share": 0.9, "reason": None}
    none = dict.fromkeys(gap) | {"skill_key": "uni:Law", "rank": 1, "reason": "no course with a known gain"}
    return {
        "dim_organization": pd.DataFrame([ORGANIZATION | {"size_band": None}]),
        "organization_skills": pd.DataFrame(benchmarks),
        "skill_gaps": pd.DataFrame([none, gap, gap | {"rank": 2, "course_key": "uni:C2", "expected_gain": 0.2}]),
        "dim_course": pd.DataFrame({"course_key": ["uni:C1", "uni:C2"], "course_name": ["First steps", "Go <on>"]}),
    }


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def section(page, skill):
    return next(part for part in page.split('<section class="skill"')[1:] if f"<h3>{skill}" in part).split(
        "</section>"
    )[0]


def cells(part, first):
    """Cells of the table row that begins with some words."""
    found = re.search(rf"<tr><td>{re.escape(first)}(<span>.*?</span>)?</td>(.*?)</tr>", part, re.DOTALL)
    return [text_of(cell).strip() for cell in re.findall(r"<td.*?</td>", found[2], re.DOTALL)]


def test_every_group_has_its_place_or_the_reason(tables):
    part = section(organization_page.make_page(Made(**tables)), "SQL")
    assert cells(part, "All") == ["40", "82 (74–90)", "66", "cutting-edge"]
    assert cells(part, "Industry") == ["9", "60 (52–68)", "55", "not yet clear"]
    assert cells(part, "Country") == ["4", FEW]
    assert cells(part, "Industry × country") == ["6", TELLS_OF_FEW]
    assert cells(part, "Country × size") == ["–", "country or size band not known"]
    assert "public sector, ES" in part
    assert "24 of your people answered" in text_of(part)


def test_the_table_at_the_top_has_the_places_the_highest_first(tables):
    page = organization_page.make_page(Made(**tables))
    glance = page[page.index('<table class="glance">') : page.index("</table>")]
    assert re.findall(r'#skill-\d">(\w+)<', glance) == ["SQL", "Law", "Python"]
    sql = glance[glance.index(">SQL<") :]
    assert re.findall(r"<td(.*?)>(.*?)</td>", sql)[:4] == [
        (' style="background:#b9dccb"', "82"),
        (' class="muted"', "60"),
        (' class="muted"', "–"),
        (' class="muted"', "–"),
    ]


def test_a_gap_has_its_courses_in_their_order_or_says_why_there_is_none(tables):
    page = organization_page.make_page(Made(**tables))
    part = section(page, "Python")
    assert cells(part, "First steps") == ["+0.31", "0.10 to 0.50", "62 %", "90 %"]
    assert part.index("First steps") < part.index("Go &lt;on&gt;")
    assert "no course is recommended: no course with a known gain." in text_of(section(page, "Law"))
    assert "below the middle" not in section(page, "SQL")


def test_what_is_not_shown_is_listed_with_its_reason(tables):
    words = text_of(organization_page.make_page(Made(**tables)))
    assert "Art: too few members with answers in the skill" in words
    assert "Skills of Acme" in words
    assert "(public sector, ES)" in words


def test_groups_of_an_earlier_version_are_said_to_be_missing_still(tables):
    """Rows stay as they were for up to a month: those of before combined groups have none."""
    part = section(organization_page.make_page(Made(**tables)), "Python")
    assert cells(part, "Industry × country") == ["–", "not computed yet"]


def test_rows_of_two_organizations_make_no_page(tables):
    two = pd.concat([tables["dim_organization"], pd.DataFrame([ORGANIZATION | {"organization_key": "uni:B"}])])
    with pytest.raises(ValueError, match="2 organizations have rows"):
        organization_page.make_page(Made(**tables | {"dim_organization": two}))


def test_an_organization_of_which_nothing_is_shown_reads_why(tables):
    hidden = tables["organization_skills"].query("not is_shown")
    words = text_of(organization_page.make_page(Made(**tables | {"organization_skills": hidden}), About()))
    assert "In no skill ten of your people have answered questions" in words
    nothing = tables["organization_skills"].head(0)
    assert "nothing can be shown" in organization_page.make_page(Made(**tables | {"organization_skills": nothing}))


def test_what_people_gained_in_the_year_is_told_where_it_is_known(tables):
    words = text_of(organization_page.make_page(Made(**tables), About()))
    assert words.count("In the last year your people gained") == 1
    assert "gained +0.42 standard deviations of ability (95 % interval +0.30 to +0.55; 14 who answered" in words
