"""What suites found is a table; Data Docs are made of it, and open without a network."""

import re
from datetime import datetime

import pytest

from dagster_project.report.data_docs import LastRun, write_index, write_pages
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store import findings
from dagster_project.store.findings import forget_rows, is_refused, keep_only, read, record
from dagster_project.store.warehouse import Warehouse
from tests.made_findings import finding


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def broken(table, **changed):
    return finding(
        table,
        "size_is_positive",
        unexpected_count=4,
        observed='{"least": -3, "largest": 12}',
        examples='[{"source": "uni", "learner_key": "uni:0a1b"}]',
        query="select * from marts.things where size < 0",
        **changed,
    )


def test_a_page_tells_what_was_seen_what_is_wrong_where_and_what_to_do(settings):
    record(settings, {"marts.things": [broken("marts.things"), finding("marts.things", position=2)]})
    write_pages(settings, ["marts.things"], ["marts.things"])
    page = (settings.data_docs_dir / "marts.things.html").read_text()
    for told in ("900 rows", "1 of 2 hold", "4 of 800 values (0.50 %)", "least -3, largest 12", "uni:0a1b"):
        assert told in page
    assert "Ask the registrar &lt;before&gt; noon." in page
    assert "where size &lt; 0" in page
    assert "does not hold, blocks" in page


def test_pages_need_no_network_and_their_links_lead_somewhere(settings):
    record(settings, {"marts.things": [broken("marts.things")], "raw_uni.events": [finding("raw_uni.events")]})
    index = write_pages(settings, [], ["marts.things", "raw_uni.events", "marts.never_checked"])
    for page in settings.data_docs_dir.glob("*.html"):
        text = page.read_text()
        assert not re.search(r"https?:|<script|<img|<link|@import|url\(", text)
        for target in re.findall(r'href="([^"]+)"', text):
            file, _, anchor = target.partition("#")
            assert (page.parent / file).exists() if file else f'id="{anchor}"' in text
    assert "2 of 3 tables" in index.read_text()
    assert "1 block" in index.read_text()


def test_the_index_counts_all_checks_of_the_last_run_and_lists_those_that_are_no_expectations(settings):
    record(settings, {"marts.things": [broken("marts.things")]})
    checks = [("marts.things", "size_is_positive"), ("raw_uni.events", "source_is_fresh")]
    told = [
        {"table_name": table, "check_name": name, "is_blocking": False, "finding": f"See <{name}>."}
        for table, name in checks
    ]
    index = write_index(settings, ["marts.things"], About(), LastRun(609, 1, 1, told)).read_text()
    assert "<b>1 failed, 1 warned</b>" in index
    assert "all 609 checks" in index
    assert "See &lt;source_is_fresh&gt;." in index
    assert "See &lt;size_is_positive&gt;." not in index  # it stands on the page of its table


def test_what_was_found_of_a_table_replaces_what_was_found_of_it_before(settings):
    record(settings, {"marts.things": [broken("marts.things"), finding("marts.things", position=2)]})
    record(settings, {"marts.others": [finding("marts.others")]})
    record(settings, {"marts.things": [finding("marts.things", "size_is_positive")]})
    assert [(x["table_name"], x["expectation"], x["is_met"]) for x in read(settings)] == [
        ("marts.others", "size_is_there", True),
        ("marts.things", "size_is_positive", True),
    ]


@pytest.mark.parametrize(
    ("severity", "is_met", "refused"), [("critical", False, True), ("warning", False, False), ("critical", True, False)]
)
def test_only_a_critical_rule_that_does_not_hold_refuses_a_table(settings, severity, is_met, refused):
    record(settings, {"marts.things": [finding("marts.things", severity=severity, is_met=is_met)]})
    assert is_refused(settings, "marts.things") is refused
    assert not is_refused(settings, "marts.others")


def test_a_refusal_outlives_the_build_database(settings):
    record(settings, {"marts.things": [broken("marts.things")]})
    settings.build_database.unlink()
    assert read(settings) == []
    Warehouse(settings).restore([findings.contract()])  # as every build does first
    assert is_refused(settings, "marts.things")


def test_the_page_of_a_table_without_a_suite_goes_with_its_examples(settings):
    record(settings, {"marts.things": [broken("marts.things")]})
    write_pages(settings, ["marts.things"], ["marts.things"])
    keep_only(settings, ["marts.others"])
    write_pages(settings, [], ["marts.others"])
    assert [path.name for path in settings.data_docs_dir.rglob("*") if path.is_file()] == ["index.html"]
    assert read(settings) == []
    assert not list(settings.artifacts_dir.rglob("*.parquet"))


def test_an_erasure_empties_what_may_name_the_learner_and_keeps_what_was_refused(settings):
    before, after = datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 12, 0, 2)
    told = {
        "raw_uni.events": [broken("raw_uni.events", validated_at=before)],
        "raw_uni.learners": [broken("raw_uni.learners", validated_at=after)],
        "marts.things": [broken("marts.things", validated_at=after), finding("marts.things", position=2)],
    }
    record(settings, told)
    write_pages(settings, list(told), list(told))
    assert forget_rows(settings, datetime(2024, 5, 1, 12, 0, 1)) == ["marts.things", "raw_uni.events"]

    assert "uni:0a1b" not in str([row for row in read(settings) if row["table_name"] != "raw_uni.learners"])
    assert sorted(path.name for path in settings.data_docs_dir.glob("*.html")) == [
        "index.html",
        "raw_uni.learners.html",
    ]
    assert is_refused(settings, "marts.things")
    assert [(x["unexpected_count"], x["examples"]) for x in read(settings) if x["table_name"] == "marts.things"] == [
        (4, None),
        (0, None),
    ]
    write_pages(settings, [], list(told))
    page = (settings.data_docs_dir / "marts.things.html").read_text()
    assert "4 of 800 values (0.50 %)" in page
    assert "uni:0a1b" not in page


def test_an_erasure_reaches_what_was_found_also_where_the_build_database_is_gone(settings):
    record(settings, {"marts.things": [broken("marts.things")]})
    settings.build_database.unlink()
    assert forget_rows(settings, datetime(2024, 5, 2)) == ["marts.things"]
    assert "uni:0a1b" not in str(read(settings))
    assert is_refused(settings, "marts.things")
