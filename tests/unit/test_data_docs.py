"""Data Docs: pages that open without a network and tell what a suite found."""

import json
import re
from datetime import datetime

import pytest

from dagster_project.report.data_docs import write_index, write_table
from dagster_project.settings import Settings
from dagster_project.store.findings import remove_older


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def expectation(name, severity="critical", **found):
    result = {"element_count": 900, "judged_count": 800, "unexpected_count": 0, "unexpected_percent": 0.0}
    result |= {"observed_value": {}, "partial_unexpected_index_list": [], "unexpected_index_query": None}
    config = {"id": name, "type": "expect_x", "columns": ["size"], "rule": "values to be between (min value 0)"}
    config |= {"severity": severity, "notes": "Ask the registrar <before> noon."}
    return {
        "success": not found.get("unexpected_count"),
        "expectation_config": config,
        "result": result | {"exception": None} | found,
    }


def validation(table, *results, at="2024-05-01T10:00:00.000000"):
    meta = {"table": table, "validated_at": at, "run_id": "0123", "rows": 900, "part": ""}
    return {"success": all(x["success"] for x in results), "meta": meta, "results": list(results)}


BROKEN = expectation(
    "size_is_positive",
    unexpected_count=4,
    unexpected_percent=0.5,
    observed_value={"least": -3, "largest": 12},
    partial_unexpected_index_list=[{"source": "uni", "learner_key": "uni:0a1b"}],
    unexpected_index_query="select * from marts.things where size < 0",
)


def test_a_page_tells_what_was_seen_what_is_wrong_where_and_what_to_do(settings):
    page = write_table(settings, validation("marts.things", BROKEN, expectation("size_is_there"))).read_text()
    for told in ("900 rows", "1 of 2 hold", "4 of 800 values (0.50 %)", "least -3, largest 12", "uni:0a1b"):
        assert told in page
    assert "Ask the registrar &lt;before&gt; noon." in page
    assert "where size &lt; 0" in page
    assert "does not hold, blocks" in page


def test_pages_need_no_network_and_their_links_lead_somewhere(settings):
    write_table(settings, validation("marts.things", BROKEN))
    write_table(settings, validation("raw_uni.events", expectation("size_is_there")))
    index = write_index(settings, {"marts.things", "raw_uni.events", "marts.never_checked"})
    for page in settings.data_docs_dir.glob("*.html"):
        text = page.read_text()
        assert not re.search(r"https?:|<script|<img|<link|@import|url\(", text)
        for target in re.findall(r'href="([^"]+)"', text):
            file, _, anchor = target.partition("#")
            assert (page.parent / file).exists() if file else f'id="{anchor}"' in text
    assert "2 of 3 tables" in index.read_text()
    assert "1 block" in index.read_text()


def test_the_page_of_a_table_without_a_suite_goes_with_its_examples(settings):
    write_table(settings, validation("marts.things", BROKEN))
    write_index(settings, {"marts.others"})
    assert [path.name for path in settings.data_docs_dir.rglob("*") if path.is_file()] == ["index.html"]


def test_what_was_found_before_an_erasure_goes_and_the_rest_stays(settings):
    write_table(settings, validation("marts.things", BROKEN))
    write_table(settings, validation("marts.others", BROKEN, at="2024-05-01T12:00:01.500000"))
    assert remove_older(settings, datetime(2024, 5, 1, 12, 0, 1)) == 1
    assert sorted(path.name for path in settings.data_docs_dir.rglob("*.*")) == [
        "marts.others.html",
        "marts.others.json",
    ]
    assert json.loads((settings.data_docs_dir / "results" / "marts.others.json").read_text())["results"]
