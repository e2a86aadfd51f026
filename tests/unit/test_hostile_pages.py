"""What a source calls its courses, people and files is text on every page, whatever it is."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from dagster_project.report import (
    at_risk_model,
    call_lists,
    data_docs,
    degree_learners,
    organization_page,
    pipeline_status,
    skill_benchmarks,
)
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store.findings import page_of, record
from tests import made_call_list
from tests.made_findings import finding

HOSTILE = """</td></title></style><script>alert(1)</script><img src=x onerror=alert(2)>" onload="alert(3)' x='"""

HOSTILE_JSON = HOSTILE.replace('"', '\\"')


class Found(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


class Made:
    def __init__(self, **tables: pd.DataFrame) -> None:
        self.tables = tables

    def read(self, table, *_, **__) -> pd.DataFrame:
        return self.tables[table.partition(".")[2]]


def skills() -> str:
    names = ["organization_name", "skill_name", "industry", "country", "size_band"]
    names += ["first_course_name", "second_course_name", "third_course_name"]
    row = dict.fromkeys(names, HOSTILE) | {"organization_key": f"uni:{HOSTILE}", "skill_key": "uni:S"}
    row |= {"organization_percentile": 90.0, "percentile_low": 80.0, "percentile_high": 97.0, "comparison": "all"}
    row |= {"is_shown": True, "member_count": 20.0, "computed_on": "2025-03-31", "band": "cutting-edge"}
    row |= {"withheld_reason": None, "members_percentile": 70.0}
    hidden = row | {"organization_percentile": None, "percentile_low": None, "percentile_high": None, "band": None}
    rows = pd.DataFrame([row, hidden | {"withheld_reason": HOSTILE, "organization_key": "uni:B", "skill_name": "B"}])
    return skill_benchmarks.make_page(Made(organization_skills=rows))


def own_skills() -> str:
    organization = dict.fromkeys(("organization_name", "industry", "country", "size_band"), HOSTILE)
    organization |= {"organization_key": f"uni:{HOSTILE}"}
    row = {"organization_key": f"uni:{HOSTILE}", "skill_key": "uni:S", "skill_name": HOSTILE, "member_count": 20.0}
    row |= dict.fromkeys(("compared_industry", "compared_country", "compared_size_band", "withheld_reason"), HOSTILE)
    row |= {
        "organization_percentile": 20.0,
        "percentile_low": 10.0,
        "percentile_high": 24.0,
        "members_percentile": 30.0,
    }
    row |= {"is_shown": True, "organization_count": 9.0, "band": "lagging"}
    rows = [row | {"comparison": name} for name in ("all", "industry_country_size_band")]
    rows[1] |= {"organization_percentile": None, "band": None}
    hidden = row | {"comparison": "all", "skill_key": "uni:T", "is_shown": False}
    gap = {
        "skill_key": "uni:S",
        "rank": 1,
        "course_key": HOSTILE,
        "expected_gain": 0.3,
        "gain_low": 0.1,
        "gain_high": 0.5,
    }
    gap |= {"expected_score_share": 0.6, "not_taken_share": 0.9, "reason": HOSTILE}
    tables = {"dim_organization": [organization], "organization_skills": [*rows, hidden], "skill_gaps": [gap]}
    tables |= {"dim_course": [{"course_key": HOSTILE, "course_name": HOSTILE}]}
    return organization_page.make_page(Made(**{name: pd.DataFrame(rows) for name, rows in tables.items()}))


def pipeline() -> str:
    counts = ["failed_check_count", "warning_count", "check_count", "loaded_row_count", "refused_row_count"]
    counts += ["loaded_file_count", "raw_row_count", "built_row_count", "built_table_count", "duration_seconds"]
    run = dict.fromkeys(counts, 1) | {"run_id": "r", "status": HOSTILE, "problem": HOSTILE, "source": HOSTILE}
    run |= {"started_at": pd.Timestamp("2025-01-01"), "snapshot_age_hours": 2.0, "peak_memory_mib": 1}
    check = {"run_id": "r", "table_name": HOSTILE, "check_name": HOSTILE, "finding": HOSTILE, "is_passed": False}
    check |= {"is_blocking": True, "unexpected_row_count": 3}
    step = {"run_id": "r", "step": HOSTILE, "status": HOSTILE, "duration_seconds": 2.0, "peak_memory_mib": 1}
    tables = {"pipeline_status": [run], "pipeline_checks": [check], "pipeline_steps": [step]}
    return pipeline_status.make_page(Made(**{name: pd.DataFrame(rows) for name, rows in tables.items()}))


def at_risk() -> str:
    key = {"source": HOSTILE, "outcome": HOSTILE}
    model = key | {"is_champion": True, "file": "f", "model": "lightgbm", "model_version": HOSTILE, "decision": HOSTILE}
    model |= {"trained_at": pd.Timestamp("2025-01-01"), "features": f'["{HOSTILE_JSON}"]', "row_count": 1}
    model |= {"learner_count": 1, "first_cohort": HOSTILE, "last_cohort": HOSTILE}
    figures = ["base_rate", "mean_probability", "auc", "call_rate", "false_negative_rate", "false_negative_low"]
    figures += ["false_negative_high", "auc_foretold", "auprc", "brier", "calibration_error", "calibration_slope"]
    figures += ["calibration_error_by_chance", "calibration_error_levelled", "frequency", "importance", "psi"]
    figures += ["auc_low", "auc_high", "called_lift"]
    row = key | dict.fromkeys(figures, 0.5) | {"week_number": 4, "n": 60, "n_positive": 5, "bin": 1}
    row |= {"earlier_cohorts": 1, "groups": 1, "groups_in_interval": 1}
    row |= {"split": HOSTILE, "model": "lightgbm", "is_champion": True, "subgroup": HOSTILE, "value": HOSTILE}
    row |= {"feature": HOSTILE, "level": "fine"}
    made = {f"at_risk_{name}": [row] for name in ("backtest", "calibration", "subgroups", "drift")}
    made |= {"at_risk_models": [model], "at_risk_ranking": [], "at_risk_scores": []}
    return at_risk_model.make_page(
        Made(**{name: pd.DataFrame(rows, columns=list(row | model)) for name, rows in made.items()})
    )


def learners() -> str:
    named = {"source": HOSTILE, "learner_share": 0.5}
    program = {"source": HOSTILE, "level": "program_year", "program_key": HOSTILE, "program_name": HOSTILE}
    program |= {"first_year_number": 2024, "retained_share_told": HOSTILE, "withheld_because": None}
    program |= {"retained_without_graduates_share_told": HOSTILE}
    tables = {
        "degree_learner_ages": named | {"program_level": HOSTILE, "age_band": HOSTILE},
        "terms_active": named | {"is_retained": True, "active_term_count": 3},
        "program_retention": program,
    }
    return degree_learners.make_page(Made(**{name: pd.DataFrame([row]) for name, row in tables.items()}))


def docs(folder) -> str:
    row = finding("marts.x", HOSTILE, unexpected_count=1, judged_count=2, observed=json.dumps({"max": HOSTILE}))
    row |= dict.fromkeys(("column_names", "rule", "notes", "query", "error", "part", "run_id"), HOSTILE)
    settings = Settings(home=folder)
    record(settings, {"marts.x": [row | {"examples": json.dumps([{HOSTILE: HOSTILE}])}]})
    index = data_docs.write_pages(settings, ["marts.x"], ["marts.x"])
    return page_of(settings, "marts.x").read_text() + index.read_text()


@pytest.mark.parametrize("made", [skills, own_skills, pipeline, at_risk, learners, docs])
def test_names_of_a_source_are_text_and_never_markup(made, tmp_path):
    html = made(tmp_path) if made is docs else made()
    found = Found(html)
    assert HOSTILE in found.text
    assert found.tags.isdisjoint({"script", "img", "iframe", "object"})
    assert not [name for name in found.attributes if name.startswith("on")]


def test_call_lists_hold_their_own_script_and_no_other():
    learner = f"uni:{HOSTILE}"
    row = made_call_list.listed() | dict.fromkeys(
        ("learner_key", "enrollment_key", "program_key", "course_key"), learner
    )
    row |= {"program_name": HOSTILE, "course_name": HOSTILE, "suggested_action": HOSTILE, "suggested_words": HOSTILE}
    row |= {"last_contacted_on": row["as_of_on"], "last_contact_channel": HOSTILE, "last_contact_topic": HOSTILE}
    row |= made_call_list.reason(1, HOSTILE, HOSTILE, 1, 2)
    people = {learner: call_lists.Person(HOSTILE, {"full_name": HOSTILE, HOSTILE: HOSTILE})}
    pages = call_lists.make_pages(made_call_list.frame(row), About(), people=people, has_names=True)
    assert len(pages) == 2
    for name, html in pages.items():
        assert re.fullmatch(r"[\w.-]+", name)
        found = Found(html)
        assert HOSTILE in found.text
        assert html.count("<script") == (0 if name == "index.html" else 2)
        assert found.tags.isdisjoint({"img", "iframe", "object"})
        assert not [attribute for attribute in found.attributes if attribute.startswith("on")]
