"""The call list with names: for its owner alone, of nobody who was erased, and never below published/."""

import csv
import stat
from argparse import Namespace
from datetime import date

import duckdb
import pytest

from dagster_project.base.errors import StoreError
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.commands import call_list
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest.erasure import request_erasure
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import load_table
from dagster_project.ingest.requests import Erasure, Erasures
from dagster_project.privacy.erasure import stages
from dagster_project.privacy.identifier_search import identity_files
from dagster_project.report import call_lists
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store.publish import make_snapshot_id, publish
from dagster_project.store.warehouse import Warehouse
from tests import made_call_list
from tests.made_call_list import frame, listed
from tests.unit.landing_files import Bench

NAMES = {"s-1": "Ann Archer", "s-2": "Bob Baker", "s-3": "Cid Carter"}
PUBLICATION_KEYS = ("first publication key, long enough", "second publication key, long enough")


def under(settings: Settings, **changes) -> Settings:
    made = Settings(**changes)
    return settings.model_copy(update={name: getattr(made, name) for name in changes})


@pytest.fixture
def bench(tmp_path):
    """Three learners, loaded and built: two of program p1, one in a course of no program."""
    bench = Bench(tmp_path)
    bench.contract = CONTRACTS["campus"]
    columns = [column.name for column in bench.contract.table("learners").columns]
    empty = "," * (len(columns) - 4)
    lines = [f"{id_},{name},{id_}@uni.example,2026-01-01 08:00:00{empty}" for id_, name in NAMES.items()]
    bench.deliver("learners.csv", "\n".join([",".join(columns), *lines]).encode() + b"\n")
    bench.load("learners", "uni")
    ann, bob, cid = (keyed_hash(id_, read_key(bench.settings)) for id_ in NAMES)
    with duckdb.connect(bench.settings.build_database) as connection:
        connection.execute("create schema core; create schema marts; create schema analytics")
        connection.execute(
            "create table core.dim_learner as select 'uni' as source, 'uni:' || id as learner_key, id as learner_id "
            "from unnest(?) as t (id)",
            [[ann, bob, cid]],
        )
        connection.execute("create table marts.mart_learner_course as select source, learner_key from core.dim_learner")
        made_call_list.write(
            connection, listed(ann), listed(bob, None, band="medium", probability=0.4), listed(cid, "c9", None)
        )
    return bench


def publish_now(bench, settings: Settings | None = None):
    settings = settings or bench.settings
    call_lists.write_pages(Warehouse(settings), About(), settings)
    return publish(
        settings,
        make_snapshot_id(),
        sources_info=[],
        versions={},
        identities=identity_files(CONTRACTS.values(), settings),
    )


def ask(settings: Settings, program: str | None = None) -> dict[str, str]:
    """The pages with names that the command writes, by name."""
    assert call_list.perform(settings, Namespace(program=program)) == 0
    return {file.stem: file.read_text() for file in settings.named_call_lists_dir.iterdir()}


def test_names_stand_beside_the_identity_store_for_its_owner_and_nowhere_below_published(bench):
    publication = publish_now(bench)
    pages = ask(bench.settings)
    assert pages.keys() == {"index", "uni-p1", "uni-courses-of-no-program"}
    assert {name: [x for x in NAMES.values() if x in page] for name, page in pages.items()} == {
        "index": [],
        "uni-p1": ["Ann Archer", "Bob Baker"],
        "uni-courses-of-no-program": ["Cid Carter"],
    }
    assert all(f"{id_}@uni.example" in "".join(pages.values()) for id_ in NAMES)
    assert publication.snapshot_id in pages["uni-p1"]
    folder = bench.settings.named_call_lists_dir
    assert folder.parent == bench.settings.identity_dir.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    # Without names the same lists are published; in nothing there stands one.
    published = {path.name for path in (bench.settings.published_dir / "call_lists").glob("*.html")}
    assert published == {f"{name}.html" for name in pages}
    files = [path for path in bench.settings.published_dir.rglob("*") if path.is_file()]
    plain = [text.encode() for id_, name in NAMES.items() for text in (name, name.split()[0], f"{id_}@uni")]
    assert len(files) > 10
    assert [(path, text) for path in files for text in plain if text in path.read_bytes()] == []


def test_a_list_of_one_program_leaves_no_other_behind(bench):
    publish_now(bench)
    ask(bench.settings)
    for program in ("p1", "uni:p1", "Program p1"):
        assert ask(bench.settings, program).keys() == {"index", "uni-p1"}
    with pytest.raises(StoreError, match=r"program 'p2' is on .* with somebody: uni:p1 \(Program p1\)"):
        ask(bench.settings, "p2")


def test_before_anything_is_published_it_says_what_to_do(bench):
    with pytest.raises(StoreError, match=r"Nothing is published yet: .*make run"):
        ask(bench.settings)


def test_a_contact_leads_back_to_the_learner_under_any_publication_key(bench):
    ann = keyed_hash("s-1", read_key(bench.settings))
    publish_now(bench)
    assert f"pseudonym:{ann}" in ask(bench.settings)["uni-p1"]
    published = (bench.settings.published_dir / "call_lists/uni-p1.html").read_text()
    assert f"pseudonym:{ann}" in published
    # Others are published: the list with names knows the inner one, and the published list notes no contacts.
    settings = under(bench.settings, publication_key=PUBLICATION_KEYS[0])
    publish_now(bench, settings)
    page = ask(settings)["uni-p1"]
    assert f"pseudonym:{ann}" in page
    assert "Ann Archer" in page
    published = (bench.settings.published_dir / "call_lists/uni-p1.html").read_text()
    assert ann not in published
    assert "contact-form" not in published.partition("<main>")[2].partition('<script type="application/json"')[0]
    assert "pseudonym:" not in published


@pytest.mark.parametrize("now", [None, PUBLICATION_KEYS[1]])
def test_after_another_publication_key_it_refuses(bench, now):
    publish_now(bench, under(bench.settings, publication_key=PUBLICATION_KEYS[0]))
    with pytest.raises(StoreError, match="another LEARNING_WAREHOUSE_PUBLICATION_KEY than the one that is set now"):
        ask(under(bench.settings, publication_key=now))
    assert not bench.settings.named_call_lists_dir.exists()


def test_under_another_pseudonym_key_it_refuses(bench):
    publish_now(bench)
    other = under(bench.settings, pseudonym_key="another key, long enough for one: 0123456789")
    with pytest.raises(StoreError, match="Table learners of source uni was loaded under another"):
        ask(other)
    # Loaded anew under it, and not yet published.
    load_table(bench.contract, "learners", "uni", bench.landing, other)
    with pytest.raises(StoreError, match="Nobody of the published list of uni is in the identity store"):
        ask(other)
    bench.settings.generated_key_file.unlink()
    with pytest.raises(StoreError, match="The pseudonym key is gone"):
        ask(bench.settings)


def test_who_asked_to_be_erased_is_not_in_it_and_what_had_them_goes(bench):
    publication = publish_now(bench)
    ask(bench.settings)
    ann = request_erasure(bench.settings, bench.contract, "uni", learner_id="s-1")
    pages = ask(bench.settings)
    assert "Ann Archer" not in "".join(pages.values())
    assert "Bob Baker" in pages["uni-p1"]
    assert isinstance(ann, Erasure)
    changes = bench.settings.call_lists_dir / "changes"
    (changes / "2026-03-01.csv").write_text("of yesterday")
    Erasures(bench.settings).save(Erasure(**{**vars(ann), "stage": "unloaded"}))
    stages.unbuild(bench.settings)
    assert not changes.exists()
    stages.finish(bench.settings, publication.snapshot_id)
    assert not bench.settings.named_call_lists_dir.exists()


def test_changes_are_a_file_a_day_and_no_cell_of_it_is_a_formula(tmp_path):
    settings = Settings(home=tmp_path)
    row = {"source": "uni", "outcome": "not_retained", "change": "newly_at_risk", "enrollment_key": "uni:ann:p1"}
    row |= {"learner_key": "uni:ann", "program_name": '=cmd|"x"', "scored_on": date(2026, 3, 2)}
    other = row | {"source": "a", "program_name": "B"}

    def write(rows: list[dict], listed_rows: list[dict]) -> dict[str, list[list[str]]]:
        import pandas as pd

        changes = pd.DataFrame(rows, columns=list(row))
        changes["scored_on"] = pd.to_datetime(changes["scored_on"])
        tables = {"learners.call_list": frame(*listed_rows), "learners.call_list_changes": changes}
        call_lists.write_pages(Namespace(read=lambda name: tables[name]), About(), settings)
        folder = settings.call_lists_dir / "changes"
        return {file.stem: list(csv.reader(file.open(newline=""))) for file in folder.iterdir()}

    first, second = listed(), listed(scored_on=date(2026, 3, 3))
    assert write([row, other], [first]) == {
        "2026-03-02": [
            list(row),
            ["a", "not_retained", "newly_at_risk", "uni:ann:p1", "uni:ann", "B", "2026-03-02"],
            ["uni", "not_retained", "newly_at_risk", "uni:ann:p1", "uni:ann", '\'=cmd|"x"', "2026-03-02"],
        ]
    }
    # Scored again on the same day: of this source nothing has changed any more, of the other one all is as it was.
    assert [row[0] for row in write([other], [first])["2026-03-02"]] == ["source", "a"]
    assert write([], [first]) == {"2026-03-02": [list(row), ["a", *map(str, list(other.values())[1:])]]}
    # The next day, without a change: no file.
    assert write([], [second]).keys() == {"2026-03-02"}
    assert len(write([row | {"scored_on": date(2026, 3, 3)}], [second])) == 2


def test_a_key_with_colons_gives_its_id_back(bench):
    (page,) = [
        html
        for name, html in call_lists.make_pages(
            frame(listed("x", "c%3A1%252", "p%3A1")), About(), people={"uni:x": call_lists.Person("x", {})}
        ).items()
        if name != "index.html"
    ]
    assert '"program_id": "p:1", "course_id": "c:1%2"' in page
