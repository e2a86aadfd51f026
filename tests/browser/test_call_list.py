"""A support lead works from the call list: sorts, filters, opens, notes contacts, takes files along, on any screen."""

import csv
import io
import re
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest.identity import read_key
from dagster_project.report.call_lists import CONTACT_COLUMNS, Person, make_pages
from dagster_project.report.page import About
from dagster_project.store.publish import name_snapshot
from tests.made_call_list import frame, listed, reason
from tests.models.compiled_models import CompiledModels
from tests.models.made_campus import make_campus
from tests.unit.landing_files import Bench

HOSTILE = """</td></script><script>alert(1)</script><img src=x onerror=alert(2)>" onload="alert(3)' x='"""
ABOUT = About(
    [SimpleNamespace(name="uni", contract="campus", last_data_on=date(2026, 3, 1), is_simulated=False, why_stale="")]
)
PEOPLE = {
    "ann": {"full_name": "Ann Archer", "email": "ann@uni.example"},
    "bob": {"full_name": "Bob Baker", "email": "bob@uni.example"},
    "cid": {"full_name": "=cmd|'/c calc'!A0", "email": HOSTILE},
    "dot": {"full_name": HOSTILE, "email": "@SUM(A1)"},
}
SILENT = reason(1, "Not seen lately", "since_last_activity_days", 12, 2)
SCORES = reason(1, "Low scores", "mean_score_share", 0.41, 0.775)
# By order of call: high before medium, then by probability; contacted lately last.
ROWS = (
    listed("ann", probability=0.7, band="high", listed_since_on=date(2026, 2, 2), is_newly_silent=True)
    | SILENT
    | reason(2, "Low scores", "mean_score_share", 0.41, 0.775)
    | {"suggested_action": "Call today", "suggested_words": "We have not seen you. How are you?"},
    listed("bob", None, probability=0.4, band="medium", listed_since_on=date(2026, 3, 2), is_newly_at_risk=True)
    | SCORES,
    listed("cid", probability=0.9, band="high", last_contacted_on=date(2026, 2, 27), is_contacted_recently=True)
    | {
        "last_contact_channel": "phone",
        "last_contact_topic": "plans",
        "course_name": '+1+"1"',
        "suggested_words": "\tTab",
    }
    | SCORES,
    listed("dot", "c2", probability=0.995, band="high", probability_change=-0.12, course_name="Logic"),
)
ORDER = ["Dot", "Ann", "Bob", "Cid"]
SHORT = {"Ann Archer": "Ann", "Bob Baker": "Bob", PEOPLE["cid"]["full_name"]: "Cid", HOSTILE: "Dot"}


@pytest.fixture
def path(tmp_path) -> Path:
    people = {f"uni:{id_}": Person(f"{id_:0>32}".replace("n", "0"), known) for id_, known in PEOPLE.items()}
    pages = make_pages(frame(*ROWS), ABOUT, people=people, has_names=True)
    for name, html in pages.items():
        (tmp_path / name).write_text(name_snapshot(html, "20260302T030000000Z"))
    return tmp_path / "uni-p1.html"


def shown(page) -> list[str]:
    return [SHORT[text] for text in page.locator("tbody.learner:visible .who").all_text_contents()]


def opened(page, who: str):
    """The row of a learner, opened."""
    name = next(name for name, short in SHORT.items() if short == who)
    body = page.locator("tbody.learner").filter(has=page.get_by_text(name, exact=True)).first
    body.locator(".opens button").click()
    return body


def downloaded(page, button: str) -> tuple[str, list[list[str]]]:
    with page.expect_download() as waited:
        page.locator(button).click()
    text = Path(waited.value.path()).read_bytes().decode()
    return waited.value.suggested_filename, list(csv.reader(io.StringIO(text, newline="")))


def note(
    body, channel: str = "email", topic: str = "plans", who: str = "advisor", when: str = "2026-03-02T18:30"
) -> None:
    body.locator("[name=channel]").select_option(channel)
    body.locator("[name=topic]").select_option(topic)
    body.locator("[name=contacted_by]").fill(who)
    body.locator("[name=contacted_at]").fill(when)
    body.get_by_role("button", name="Note it").click()


def test_heads_sort_both_ways_and_say_so(page, path):
    page.goto(path.as_uri())
    assert shown(page) == ORDER
    for head, up in (
        ("Risk", ["Bob", "Ann", "Cid", "Dot"]),
        ("Since", ["Ann", "Dot", "Cid", "Bob"]),
        # Without a reason last, either way.
        ("Main reason", ["Bob", "Cid", "Ann", "Dot"]),
        ("Last contact", ["Dot", "Ann", "Bob", "Cid"]),
    ):
        button = page.get_by_role("button", name=head, exact=True)
        cell = page.get_by_role("columnheader", name=head)
        button.click()
        assert (shown(page), cell.get_attribute("aria-sort")) == (up, "ascending")
        button.press("Enter")
        # Those alike stay in the order of call.
        down = {"Since": ["Bob", "Dot", "Cid", "Ann"]}
        down |= {"Main reason": ["Ann", "Bob", "Cid", "Dot"], "Last contact": ["Cid", "Dot", "Ann", "Bob"]}
        assert (shown(page), cell.get_attribute("aria-sort")) == (down.get(head, up[::-1]), "descending")
    assert page.locator("[aria-sort]:not([aria-sort=none])").count() == 1


def test_filters_and_the_search_hold_together(page, path):
    page.goto(path.as_uri())
    for field, value, left in (
        ("#f-band", "medium", ["Bob"]),
        ("#f-outcome", "not_retained", ["Bob"]),
        ("#f-reason", "Low scores", ["Ann", "Bob", "Cid"]),  # also as the second reason
        ("#f-news", "new", ["Bob"]),
        ("#f-news", "silent", ["Ann"]),
        ("#f-news", "either", ["Ann", "Bob"]),
        ("#f-contact", "yes", ["Cid"]),
        ("#f-contact", "no", ["Dot", "Ann", "Bob"]),
    ):
        page.locator(field).select_option(value)
        assert (shown(page), page.locator("#shown").text_content()) == (left, f"{len(left)} of 4 shown")
        page.locator("#clear").click()
    assert (shown(page), page.locator("#shown").text_content()) == (ORDER, "All 4 shown")
    for words, left in (("archer", ["Ann"]), ("BAKER uni.example", ["Bob"]), ("logic", ["Dot"]), ("77 % 41", ["Ann"])):
        page.locator("#search").fill(words.replace("77 % 41", "not seen 41"))
        assert shown(page) == left
    page.locator("#f-band").select_option("medium")
    assert shown(page) == []
    assert page.get_by_text("Nobody on the list fits these filters.").is_visible()


def test_a_row_opens_to_its_reasons_the_others_and_words(page, path):
    page.goto(path.as_uri())
    assert page.locator(".more:visible").count() == 0
    body = opened(page, "Ann")
    text = " ".join(body.locator(".more").inner_text().split())
    assert "Not seen lately Days since the last activity: 12 · median of the others 2" in text
    assert "Low scores Mean score: 41 % · median of the others 78 %" in text
    assert "Call today." in text
    assert "We have not seen you. How are you?" in text
    assert body.get_by_role("link", name="ann@uni.example").get_attribute("href") == "mailto:ann@uni.example"
    assert body.locator(".opens button").get_attribute("aria-expanded") == "true"
    # Nobody is told of certainty.
    assert "99 %" in opened(page, "Dot").inner_text()
    page.locator("#open-all").click()
    assert page.locator(".more:visible").count() == 4
    page.locator("#open-all").click()
    assert page.locator(".more:visible").count() == 0


def test_the_rows_that_are_shown_come_as_a_file_in_which_nothing_is_a_formula(page, path):
    page.goto(path.as_uri())
    page.locator("#f-band").select_option("high")
    name, (head, *rows) = downloaded(page, "#rows-csv")
    assert re.fullmatch(r"call-list-uni-p1-\d{8}T\d{6}\.csv", name)
    told = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["Name"] for row in told] == [HOSTILE, "Ann Archer", "'=cmd|'/c calc'!A0"]
    assert (told[0]["Email"], told[2]["Course"], told[2]["Words to begin with"]) == ("'@SUM(A1)", '\'+1+"1"', "'\tTab")
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert (told[1]["Newly silent"], told[1]["Reason 1"], told[1]["Peers' median 1"]) == ("yes", "Not seen lately", "2")
    assert told[0]["Probability"] == "99 %"


def test_contacts_are_kept_until_they_are_downloaded_as_one_file(page, path):
    page.goto(path.as_uri())
    assert page.locator("#contacts-csv").is_disabled()
    note(opened(page, "Ann"))
    note(opened(page, "Bob"), "phone", "other", "=advisor", "2026-03-03T09:00")
    assert page.locator("#contacts-csv").text_content() == "Download 2 contacts"
    page.reload()
    assert page.locator("#contacts-csv").text_content() == "Download 2 contacts"
    page.locator("#f-contact").select_option("yes")
    assert shown(page) == ["Ann", "Bob", "Cid"]
    # One that was a mistake, of a page under a later snapshot.
    later = path.with_name("later.html")
    later.write_text(path.read_text().replace("20260302T030000000Z", "20260303T030000000Z"))
    page.goto(later.as_uri())
    body = opened(page, "Dot")
    note(body)
    assert page.locator("#contacts-csv").text_content() == "Download 3 contacts"
    body.get_by_role("button", name="Remove").click()
    name, (head, *rows) = downloaded(page, "#contacts-csv")
    assert re.fullmatch(r"interventions-uni-\d{8}T\d{6}-[0-9a-f]{4}\.csv", name)
    assert tuple(head) == CONTACT_COLUMNS
    told = [dict(zip(head, row, strict=True)) for row in rows]
    # 18:30 in Madrid in winter.
    wanted = {"program_id": "p1", "course_id": "c1", "channel": "email", "topic": "plans", "contacted_by": "advisor"}
    assert wanted | {"contacted_at": "2026-03-02 17:30:00"} == {
        name: told[0][name] for name in (*wanted, "contacted_at")
    }
    assert (told[1]["program_id"], told[1]["course_id"], told[1]["contacted_by"]) == ("p1", "", "advisor")
    assert [re.fullmatch(r"call-list-[0-9a-f]{24}", row["intervention_id"]) is not None for row in told] == [True, True]
    assert told[0]["intervention_id"] != told[1]["intervention_id"]
    # Once more, should the file be lost; a page of a later snapshot forgets them.
    assert page.locator("#contacts-csv").text_content() == "Download contacts again"
    assert downloaded(page, "#contacts-csv")[1] == [head, *rows]
    page.reload()
    assert page.locator("#contacts-csv").is_disabled()


def test_the_file_of_contacts_loads_as_interventions(page, tmp_path, path):
    """The very file that the browser gave, through the landing, into core.fct_intervention."""
    bench = Bench(tmp_path)
    bench.contract = CONTRACTS["campus"]
    assert tuple(column.name for column in bench.contract.table("interventions").columns) == CONTACT_COLUMNS
    learner = keyed_hash("l01", read_key(bench.settings))
    row = listed("l01", "msc-algebra", "msc") | {"learner_key": f"uni:{learner}"}
    pages = make_pages(frame(row), ABOUT, people={f"uni:{learner}": Person(learner, {})})
    path.write_text(pages["uni-msc.html"])
    page.goto(path.as_uri())
    page.locator(".opens button").click()
    note(page.locator("tbody.learner"), "phone", "assignments", 'coach, "team 1"')
    with page.expect_download() as waited:
        page.locator("#contacts-csv").click()
    # Beside the log of the platform, which stays.
    head = ",".join(CONTACT_COLUMNS)
    bench.deliver("interventions.csv", f"{head}\nn1,l01,msc,,email,plans,advisor,2026-03-01 08:00:00,\n".encode())
    waited.value.save_as(bench.landing / waited.value.suggested_filename)
    load = bench.load("interventions", "uni")
    assert [(file.status, file.refused) for file in load.files] == [("loaded", 0), ("loaded", 0)]
    rows = [dict(zip(CONTACT_COLUMNS, row, strict=False)) for row in bench.rows("interventions", "uni")]
    assert {row["learner_id"] for row in rows} == {learner}
    tables = make_campus()
    tables["interventions"] = rows
    tables["learners"] = [x | ({"learner_id": learner} if x["learner_id"] == "l01" else {}) for x in tables["learners"]]
    models = CompiledModels(tmp_path / "models", {"campus": tables}, only="fct_intervention")
    with models.built() as connection:
        found = connection.execute(
            "select program_key, course_key, channel, topic, contacted_by, contacted_at::varchar, "
            "contacted_on::varchar from core.fct_intervention where learner_key = ? order by contacted_at",
            [f"campus:{learner}"],
        ).fetchall()
    assert found == [
        ("campus:msc", None, "email", "plans", "advisor", "2026-03-01 08:00:00", "2026-03-01"),
        (
            "campus:msc",
            "campus:msc-algebra",
            "phone",
            "assignments",
            'coach, "team 1"',
            "2026-03-02 17:30:00",
            "2026-03-02",
        ),
    ]


def test_a_telephone_shows_cards_and_nothing_runs_off(phone, path):
    phone.goto(path.as_uri())
    assert phone.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    assert phone.locator("thead").bounding_box()["width"] <= 1
    assert not phone.locator("#f-reason").is_visible()
    phone.locator("#fold").click()
    assert phone.locator("#f-reason").is_visible()
    phone.locator("#by").select_option("risk-")
    assert shown(phone) == ["Dot", "Cid", "Ann", "Bob"]
    phone.locator("#open-all").click()
    assert phone.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    beyond = """[...document.querySelectorAll("main *")].filter((x) => !x.closest("thead, .sr")
        && x.getBoundingClientRect().right > innerWidth + 0.5).map((x) => x.outerHTML)"""
    assert phone.evaluate(beyond) == []
    # Large enough for a finger.
    small = """[...document.querySelectorAll("main button, main select, main input")].filter((x) => !x.closest("thead")
        && x.offsetParent && x.getBoundingClientRect().height < 40).map((x) => x.outerHTML)"""
    assert phone.evaluate(small) == []


def test_hostile_names_are_text_and_a_foreign_script_does_not_run(page, path):
    page.goto(path.as_uri())
    page.locator("#open-all").click()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator(".who b").first.text_content() == HOSTILE
    # Were one in it all the same, the page forbids it.
    path.write_text(path.read_text().replace("<main>", "<main><script>document.title = 'broken'</script>"))
    tab = page.context.new_page()
    tab.goto(path.as_uri())
    assert tab.title() == "Whom to call: Program p1"


def test_without_a_script_everything_is_there_to_read(browser, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".more:visible").count() == 4
    assert not page.locator("#tools").is_visible()
    context.close()


def test_keys_and_screen_readers_reach_everything(page, path):
    page.goto(path.as_uri())
    nameless = """[...document.querySelectorAll("main button, main select, main input")].filter((x) =>
        !(x.labels?.length || x.textContent.trim() || x.ariaLabel)).map((x) => x.outerHTML)"""
    page.locator("#open-all").click()
    assert page.evaluate(nameless) == []
    assert page.get_by_role("table").get_attribute("role") == "table"
    assert page.get_by_role("row").count() == 9
    page.locator("#open-all").click()
    page.locator("#rows-csv").focus()
    page.keyboard.press("Tab")  # the button of contacts is off: the first head is next
    for _ in range(8):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-controls')") == "more-0"
    page.keyboard.press("Space")
    assert page.locator("#more-0").is_visible()


def test_on_paper_there_is_the_list_and_what_is_open(page, path):
    page.goto(path.as_uri())
    opened(page, "Ann")
    page.emulate_media(media="print")
    assert not page.locator("#tools").is_visible()
    assert not page.locator(".contact-box:visible").count()
    assert page.get_by_text("We have not seen you. How are you?").is_visible()
