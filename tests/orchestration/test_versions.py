"""The nodes of a plan: every asset has one, and changes of code and settings reach those that they concern."""

import duckdb
import pytest

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.definitions import defs
from dagster_project.defs import versions
from dagster_project.defs.planning import plan_of, selection_of
from dagster_project.defs.versions import PUBLICATION, key_of, name_of, nodes_of
from dagster_project.ingest.sources import Source, register_source
from dagster_project.settings import Settings

OF_EVERY_RUN = {"ops.pipeline_checks", "ops.pipeline_status", "ops.pipeline_steps", "pages.pipeline_status"}


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def test_every_asset_is_a_node_or_made_by_every_run(graph, settings):
    nodes = nodes_of(graph, settings)
    assert {name_of(key) for key in graph.materializable_asset_keys} - set(nodes) == OF_EVERY_RUN
    raw = {name for name, node in nodes.items() if node.is_raw}
    assert raw == {name for name in nodes if name.startswith("raw_")}
    for name, node in nodes.items():
        assert {key_of(name)} | {key_of(x) for x in node.parents} <= set(graph.get_all_asset_keys())
    # What one step makes is made together, but dbt makes what it is told.
    assert len({node.step for name, node in nodes.items() if name.startswith("analytics.driver_")}) == 1
    assert {nodes[name].step for name in nodes if name.startswith(("core.", "marts."))} == {""}


def test_every_check_of_a_node_has_a_hash(graph, settings):
    nodes = nodes_of(graph, settings)
    known = {f"{name}:{check}" for name, node in nodes.items() for check in node.checks}
    all_checks = {f"{name_of(check.asset_key)}:{check.name}" for check in graph.asset_check_keys}
    assert {name for name in all_checks - known if name.partition(":")[0] not in OF_EVERY_RUN} == set()


def different(graph, a: Settings, b: Settings) -> set[str]:
    of_a, of_b = nodes_of(graph, a), nodes_of(graph, b)
    return {name for name in of_a if of_a[name].code != of_b[name].code}


def test_a_setting_reaches_what_uses_it(graph, settings):
    other = settings.model_copy(update={"at_risk_high_share": 0.2})
    found = different(graph, settings, other)
    assert "analytics.at_risk_scores" in found
    assert not {name for name in found if name.startswith(("core.", "marts.", "analytics.driver", "analytics.skill"))}
    other = settings.model_copy(update={"minimum_group_size": 12})
    found = different(graph, settings, other)
    assert {"analytics.driver_effects", "analytics.skill_benchmarks", "reporting.program_retention"} <= found
    assert not {name for name in found if name.startswith(("core.", "raw_", "marts.mart_learner"))}


def test_a_setting_that_a_check_judges_by_has_it_judged_again_and_makes_no_table(graph, settings):
    before = nodes_of(graph, settings)
    after = nodes_of(graph, settings.model_copy(update={"maximum_refused_share": 0.5}))
    assert {name for name in before if before[name].code != after[name].code} == set()
    for name, node in before.items():
        assert (node.checks != after[name].checks) == node.is_raw
    assert "refused_share_is_small" in before["raw_oulad.vle"].judged_on_the_way
    assert "activity_type_is_known" not in before["raw_oulad.vle"].judged_on_the_way


@pytest.mark.parametrize("changed", [{"threads": 7}, {"memory_limit": "3GB"}, {"lock_timeout_seconds": 1.0}])
def test_how_a_run_goes_changes_no_table(graph, settings, changed):
    assert different(graph, settings, settings.model_copy(update=changed)) == set()


def test_a_publication_key_reaches_the_publication_and_the_pages_of_learners(graph, settings):
    other = Settings(home=settings.home, publication_key="0123456789abcdef0123456789abcdefXYZ")
    # A list of learners under other pseudonyms notes no contacts.
    assert different(graph, settings, other) == {PUBLICATION, "pages.call_lists"}


def test_a_var_and_a_macro_reach_the_models_that_use_them(graph, settings, monkeypatch):
    before = nodes_of(graph, settings)
    variables = versions._Nodes(graph, settings)._variables | {"smallest_peer_group": 99}
    monkeypatch.setattr(versions._Nodes, "_variables", variables)
    after = nodes_of(graph, settings)
    assert {name for name in before if before[name].code != after[name].code} == {"features.feature_course_weeks"}


def test_a_library_reaches_everything_that_is_computed(graph, settings, monkeypatch):
    before = nodes_of(graph, settings)
    monkeypatch.setattr(versions, "SOFTWARE", ("pyproject.toml",))
    after = nodes_of(graph, settings)
    assert {name for name in before if before[name].code == after[name].code} == {x for x in before if before[x].is_raw}


def test_two_steps_of_one_module_have_not_the_same_code(graph):
    of = {x: versions._needs_of(versions._function_of(graph.get(key_of(x)).assets_def))[1] for x in STEPS}
    assert "dagster_project.analyses.at_risk.training" in of["analytics.at_risk_models"]
    assert "dagster_project.analyses.at_risk.training" not in of["analytics.at_risk_scores"]
    assert "dagster_project.analyses.skills.gaps" not in of["analytics.skill_scales"]


STEPS = ("analytics.at_risk_models", "analytics.at_risk_scores", "analytics.skill_scales")


def test_an_empty_warehouse_is_made_whole_and_only_what_the_job_has(graph, settings, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "courses.csv").write_text("code_module,code_presentation,module_presentation_length\nAAA,2013J,268\n")
    source = Source("uni_a", "oulad", landing)
    register_source(settings, source, ["oulad"])
    plan = plan_of(graph, settings, [source])
    others = tuple(f"{contract.schema}." for contract in CONTRACTS.values() if contract.name != "oulad")
    assert {name for name in plan.tables if name.startswith(others)} == set()
    assert {name for name in plan.kept if not name.startswith(others)} == set()
    keys = defs.resolve_job_def("run_oulad").asset_layer.selected_asset_keys
    chosen = selection_of(plan, graph, keys)
    # Of other contracts, which no source follows, nothing is built: neither views nor their tests.
    unused = {key for key in keys if key.path[0] == "staging" and "_oulad__" not in key.path[1]}
    assert any("stg_campus__" in key.path[1] for key in unused)
    assert chosen.assets == frozenset(keys) - unused
    assert chosen.checks == {check for check in graph.asset_check_keys if check.asset_key in chosen.assets}


def test_the_first_source_of_a_contract_has_what_unites_the_contracts_made_anew(graph, settings, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    register_source(settings, Source("uni_a", "oulad", landing), ["oulad"])
    before = nodes_of(graph, settings)
    register_source(settings, Source("uni_b", "oulad", landing), ["oulad"])
    assert {name for name, node in nodes_of(graph, settings).items() if node.code != before[name].code} == set()
    register_source(settings, Source("uni_c", "campus", landing), ["campus"])
    after = nodes_of(graph, settings)
    assert {name for name in after if name not in before} == {x for x in after if "_campus__" in x}
    changed = {name for name in before if before[name].code != after[name].code}
    assert {"core.dim_learner", "intermediate.int_events_summarized"} <= changed
    assert not {name for name in changed if name.startswith(("staging.", "marts.", "analytics."))}


def test_effects_wait_for_their_week_unless_a_cohort_ends_or_a_source_is_new(graph, settings, tmp_path):
    def marker() -> str:
        return nodes_of(graph, settings)["analytics.driver_effects"].marker

    landing = tmp_path / "landing"
    landing.mkdir()
    register_source(settings, Source("uni_a", "campus", landing), ["campus"])
    register_source(settings, Source("uni_b", "campus", landing), ["campus"])
    assert marker() == "uni_a: not built, uni_b: not built"
    settings.build_database.parent.mkdir(exist_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema core; create schema marts")
        connection.execute("create table core.dim_source as select 'uni_a' as source")
        connection.execute(
            "create table marts.mart_learner_program as select * from (values "
            "('uni_a', 'fall 2023', true), ('uni_a', 'fall 2023', false), ('uni_a', 'spring 2024', true), "
            "('uni_a', 'fall 2024', null)) as rows (source, first_term_key, is_retained)"
        )
    # Two terms whose first year is over, however many began in them; of the third one nobody knows yet.
    assert marker() == "uni_a: 2, uni_b: not built"
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("insert into core.dim_source values ('uni_b')")
    assert marker() == "uni_a: 2, uni_b: 0"
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("update marts.mart_learner_program set is_retained = true")
    assert marker() == "uni_a: 3, uni_b: 0"
