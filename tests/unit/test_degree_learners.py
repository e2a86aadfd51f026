"""The page of degree learners: what is withheld has no column, and what is not known yet is no zero."""

import re

import pandas as pd

from dagster_project.report import degree_learners


class Made:
    def read(self, table):
        return {
            "reporting.degree_learner_ages": pd.DataFrame(
                [
                    ["uni", "master", "18-24", 0.25],
                    ["uni", "master", "25-29", 0.75],
                    ["uni", "bachelor", "18-24", None],
                    ["uni", "bachelor", "25-29", 1.0],
                ],
                columns=["source", "program_level", "age_band", "learner_share"],
            ),
            "reporting.terms_active": pd.DataFrame(
                [["uni", True, 4, 0.6], ["uni", True, 6, 0.4], ["uni", False, 1, 1.0]],
                columns=["source", "is_retained", "active_term_count", "learner_share"],
            ),
            "reporting.program_retention": pd.DataFrame(
                [
                    ["uni", "program_year", "uni:a", "Statistics", 2023, ">= 80 %", None, "retained: fewer than 10"],
                    ["uni", "program_year", "uni:a", "Statistics", 2024, None, None, None],
                    ["uni", "program_year", "uni:b", "Statistics", 2023, None, None, "fewer than 10 learners"],
                    ["uni", "program_year", "uni:c", "Logic", 2023, "77 %", "71 to 77 %", "graduated: fewer than 10"],
                    ["uni", "year", None, None, 2023, "77 %", "76 %", None],
                ],
                columns=[
                    "source", "level", "program_key", "program_name", "first_year_number", "retained_share_told",
                    "retained_without_graduates_share_told", "withheld_because",
                ],
            ),
        }[table]  # fmt: skip


def test_the_two_figures_show_what_is_told_and_nothing_else():
    page = degree_learners.make_page(Made())
    assert re.findall(r"<title>([^<]*%)</title>", page) == [
        "25-29, bachelor: 100 %",
        "18-24, master: 25 %",
        "25-29, master: 75 %",
        "4, retained: 60 %",
        "6, retained: 40 %",
        "1, not retained: 100 %",
    ]
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', page)]
    assert heights[1] / heights[0] == 0.25


def cells(page: str, program: str) -> list[list[str]]:
    rows = re.findall(rf"<tr><td>{program}</td>(.*?)</tr>", page)
    return [re.findall(r">([^<>]+)</td>", row) for row in rows]


def test_two_programs_of_one_name_have_a_row_each():
    page = degree_learners.make_page(Made())
    assert cells(page, "Statistics")[:2] == [["&gt;= 80 %", "–"], ["·"]]


def test_the_share_without_graduates_stands_below_where_any_is_told():
    page = degree_learners.make_page(Made())
    assert cells(page, "Logic") == [["77 %"], ["71 to 77 %"]]
    assert "Without graduates" in page

    class Untold(Made):
        def read(self, table):
            rows = super().read(table)
            return rows.assign(retained_without_graduates_share_told=None) if "retention" in table else rows

    page = degree_learners.make_page(Untold())
    assert cells(page, "Logic") == [["77 %"]]
    assert "Without graduates" not in page
