"""What a run must do, on graphs drawn by hand: raw a, b → staging → mart → weekly analysis → report."""

from datetime import datetime, timedelta

import pytest

from dagster_project.store.plan import Accepted, Built, Node, Plan, make_plan, version_of

NOW = datetime(2026, 11, 30, 3)
WEEK = timedelta(days=7)


def graph(**changes: Node) -> dict[str, Node]:
    nodes = {
        "raw.a": Node(
            "a1", is_raw=True, step="load a", checks={"fresh": "f", "usual": "v"}, judged_on_the_way={"fresh"}
        ),
        "raw.b": Node("b1", is_raw=True, step="load b"),
        "staging.a": Node("s", ("raw.a",), checks={"unique": "u"}),
        "staging.b": Node("t", ("raw.b",)),
        "mart": Node("m", ("staging.a",), checks={"not_null": "n", "range": "r"}),
        "effects": Node("e", ("mart",), step="analysis", rhythm=WEEK, marker="3 cohorts"),
        "placebos": Node("p", ("mart",), step="analysis", rhythm=WEEK, marker="3 cohorts"),
        "report": Node("r", ("effects", "staging.b")),
    }
    return nodes | changes


def settled(nodes: dict[str, Node], at: datetime = NOW) -> tuple[dict[str, Built], Accepted]:
    """Everything built at a time, and published."""
    versions: dict[str, str] = {}
    for name in nodes:  # drawn parents first
        versions[name] = version_of(nodes[name], versions)
    built = {name: Built(versions[name], x.code, at, x.marker) for name, x in nodes.items() if not x.is_raw}
    return built, Accepted(versions, {f"{name}:{c}": code for name, x in nodes.items() for c, code in x.checks.items()})


def plan(nodes: dict[str, Node], before: dict[str, Node] | None = None, now: datetime = NOW, **given) -> Plan:
    return make_plan(nodes, *settled(before or nodes), now, given.pop("arriving", {}), **given)


def test_nothing_new_is_an_empty_plan():
    found = plan(graph())
    assert not found
    assert set(found.kept) == set(graph())
    assert found.due is None


def test_a_first_run_makes_everything():
    found = make_plan(graph(), {}, Accepted(), NOW, {"raw.a": "a.csv"})
    assert set(found.tables) == set(graph())
    assert found.tables["raw.a"] == "a load will find a.csv"
    assert found.checks == {"raw.a:fresh", "raw.a:usual", "staging.a:unique", "mart:not_null", "mart:range"}


def test_an_arriving_file_leads_to_what_reads_it_and_no_further_than_a_weekly_analysis():
    found = plan(graph(), arriving={"raw.a": "a2.csv"})
    assert set(found.tables) == {"raw.a", "staging.a", "mart"}
    assert found.tables["mart"] == "staging.a changes"
    assert found.due == NOW + WEEK
    assert set(found.kept) == {"raw.b", "staging.b", "effects", "placebos", "report"}


def test_after_a_week_the_analysis_follows_with_all_that_it_makes_at_once():
    found = plan(graph(), now=NOW + WEEK, arriving={"raw.a": "a2.csv"})
    assert set(found.tables) == {"raw.a", "staging.a", "mart", "effects", "placebos", "report"}
    assert found.due is None


def test_a_cohort_that_matures_ends_the_week():
    changed = graph(
        effects=Node("e", ("mart",), step="analysis", rhythm=WEEK, marker="4 cohorts"),
        placebos=Node("p", ("mart",), step="analysis", rhythm=WEEK, marker="4 cohorts"),
    )
    assert set(plan(changed, graph(), arriving={"raw.a": "a2.csv"}).tables) >= {"effects", "placebos", "report"}
    # and is nothing by itself: what the analysis reads is as it was
    assert not plan(changed, graph())


def test_an_analysis_that_waits_is_due_though_nothing_more_arrives():
    """The day after: the mart was built from the new file, the effects were kept."""
    nodes = graph()
    built, accepted = settled(nodes)
    loaded = nodes | {"raw.a": Node("a2", is_raw=True, step="load a", checks={"fresh": "f", "usual": "v"})}
    later, accepted_later = settled(loaded, NOW + timedelta(days=1))
    kept = {name: built[name] for name in ("effects", "placebos", "report")}
    kept_versions = {name: accepted.versions[name] for name in kept}
    accepted = Accepted(accepted_later.versions | kept_versions, accepted.checks)
    before_due = make_plan(loaded, later | kept, accepted, NOW + WEEK - timedelta(seconds=1), {})
    assert not before_due
    assert before_due.due == NOW + WEEK
    assert set(make_plan(loaded, later | kept, accepted, NOW + WEEK, {}).tables) == {"effects", "placebos", "report"}


def test_code_of_a_table_is_itself_and_what_hangs_on_it():
    assert set(
        plan(graph(mart=Node("m2", ("staging.a",), checks={"not_null": "n", "range": "r"})), graph()).tables
    ) == {"mart"}
    assert set(plan(graph(report=Node("r2", ("effects", "staging.b"))), graph()).tables) == {"report"}
    found = plan(graph(effects=Node("e2", ("mart",), step="analysis", rhythm=WEEK, marker="3 cohorts")), graph())
    assert set(found.tables) == {"effects", "placebos", "report"}


def test_a_changed_check_is_judged_and_makes_no_table():
    found = plan(graph(mart=Node("m", ("staging.a",), checks={"not_null": "n", "range": "r2"})), graph())
    assert (set(found.tables), found.checks) == (set(), {"mart:range"})
    # but for one that is judged by loading, and then with all that are
    for changed, tables in (({"fresh": "stale", "usual": "v"}, {"raw.a"}), ({"fresh": "f", "usual": "w"}, set())):
        raw = Node("a1", is_raw=True, step="load a", checks=changed, judged_on_the_way={"fresh"})
        found = plan(graph(**{"raw.a": raw}), graph())
        assert set(found.tables) == tables
        assert found.checks == ({"raw.a:fresh", "raw.a:usual"} if tables else {"raw.a:usual"})


@pytest.mark.parametrize("name", ["staging.b", "mart", "raw.b"])
def test_what_was_built_and_not_published_is_judged_again(name):
    """A run that failed at a check of a table must not be followed by one that passes it over."""
    nodes = graph()
    built, accepted = settled(nodes)
    versions = {x: version for x, version in accepted.versions.items() if x != name}
    found = make_plan(nodes, built, Accepted(versions, accepted.checks), NOW, {})
    assert found.tables == {name: "it was not published yet"}


def test_a_file_that_is_withdrawn_again_rebuilds_what_a_failed_run_left():
    nodes = graph()
    _, accepted = settled(nodes)
    failed, _ = settled(nodes | {"raw.a": Node("a2", is_raw=True)})
    assert set(make_plan(nodes, failed, accepted, NOW + WEEK, {}).tables) == {
        "staging.a",
        "mart",
        "effects",
        "placebos",
        "report",
    }


def test_a_killed_build_is_done_again():
    nodes = graph()
    built, accepted = settled(nodes)
    del built["mart"]
    assert set(make_plan(nodes, built, accepted, NOW, {}).tables) >= {"mart"}


def test_everything_is_everything():
    found = plan(graph(), everything="a learner is to be erased")
    assert set(found.tables) == set(graph())
    assert set(found.tables.values()) == {"a learner is to be erased"}


def test_a_step_that_is_run_for_its_check_is_followed_by_what_reads_it():
    """The effects wait for their week, and are made all the same, of more data: the report must not stay behind."""
    nodes = graph()
    built, accepted = settled(nodes)
    loaded = nodes | {"raw.a": Node("a2", is_raw=True, step="load a", checks={"fresh": "f", "usual": "v"})}
    later, taken = settled(loaded)
    waiting = {name: built[name] for name in ("effects", "placebos", "report")}
    taken = Accepted(taken.versions | {name: accepted.versions[name] for name in waiting}, taken.checks)
    judged = loaded | {
        "placebos": Node("p", ("mart",), "analysis", {"rare": "new"}, {"rare"}, rhythm=WEEK, marker="3 cohorts")
    }
    assert not make_plan(loaded, later | waiting, taken, NOW, {})
    found = make_plan(judged, later | waiting, taken, NOW, {})
    assert set(found.tables) == {"effects", "placebos", "report"}
    assert found.checks == {"placebos:rare"}


def test_what_one_source_loaded_is_not_taken_with_what_another_one_did():
    """Two universities on one contract: the run of one judges nothing of the other, whose load failed its checks."""
    nodes = graph(**{"raw.a": Node("a1", (), "load a", is_raw=True, parts={"uni_a": "x1", "uni_b": "y2"})})
    built, accepted = settled(nodes)
    taken = Accepted(accepted.versions | {"raw.a@uni_a": "x1", "raw.a@uni_b": "y1"}, accepted.checks)
    assert make_plan(nodes, built, taken, NOW, {}).tables == {"raw.a": "it was not published yet"}
    taken = Accepted(accepted.versions | {"raw.a@uni_a": "x1", "raw.a@uni_b": "y2"}, accepted.checks)
    assert not make_plan(nodes, built, taken, NOW, {})


def test_a_changed_check_is_judged_on_every_source():
    """Judged anew on one of two universities, it is still to be judged on the other."""
    parts = {"uni_a": "x1", "uni_b": "y1"}
    nodes = graph(**{"raw.a": Node("a1", (), "load a", checks={"volume": "new"}, is_raw=True, parts=parts)})
    built, accepted = settled(nodes)
    versions = accepted.versions | {"raw.a@uni_a": "x1", "raw.a@uni_b": "y1"}
    judged = Accepted(versions, accepted.checks | {"raw.a@uni_a:volume": "new", "raw.a@uni_b:volume": "old"})
    assert make_plan(nodes, built, judged, NOW, {}).checks == {"raw.a:volume"}
    judged = Accepted(versions, accepted.checks | {"raw.a@uni_a:volume": "new", "raw.a@uni_b:volume": "new"})
    assert not make_plan(nodes, built, judged, NOW, {})
