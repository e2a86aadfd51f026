"""The graph: every asset, its neighbours and its checks, as reviewed."""

import ast
import json
import os
import re
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.contracts.tables import find_unpublished
from dagster_project.definitions import defs
from dagster_project.defs.automation import job_name
from dagster_project.defs.manifest import NODES, is_published
from dagster_project.defs.versions import name_of
from dagster_project.settings import REPOSITORY

SNAPSHOT = Path(__file__).parent / "asset_specs.json"


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def describe(graph) -> dict:
    """What a reviewer should see change: keys, groups, neighbours, partitions, kinds, checks."""
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        specs = [graph.get_check_spec(check) for check in graph.asset_check_keys if check.asset_key == key]
        checks = {spec.name: spec.blocking for spec in specs}
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "checks": {name: "blocking" if blocking else "warning" for name, blocking in sorted(checks.items())},
        }
    return assets


def test_asset_specs_are_as_reviewed(graph):
    found = describe(graph)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), (
        f"The asset graph is not the reviewed one. If the change is meant: UPDATE_SNAPSHOTS=1 pytest {__file__}"
    )


def test_every_asset_has_a_description_and_an_owner(graph):
    bare = [
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if not graph.get(key).description or not graph.get(key).owners
    ]
    assert not bare


def test_only_event_tables_and_their_summary_are_partitioned(graph):
    partitioned = {key for key in graph.get_all_asset_keys() if graph.get(key).partitions_def}
    events = {
        dg.AssetKey([f"raw_{contract.name}", table.name])
        for contract in CONTRACTS.values()
        for table in contract.tables
        if table.is_event
    }
    assert partitioned == events | {dg.AssetKey(["intermediate", "int_events_summarized"])}


def test_data_goes_one_way(graph):
    order = ["raw", "staging", "intermediate", "core", "marts", "features", "analytics"]
    order += ["reporting", "learners", "ops", "pages", "published"]
    backward = [
        (parent.to_user_string(), key.to_user_string())
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
        if order.index(graph.get(parent).group_name) > order.index(graph.get(key).group_name)
    ]
    assert not backward


def test_marts_read_core_and_marts_only(graph):
    skipping = [
        (parent.to_user_string(), key.to_user_string())
        for key in graph.get_all_asset_keys()
        if graph.get(key).group_name == "marts"
        for parent in graph.get(key).parent_keys
        if graph.get(parent).group_name not in ("core", "marts", "features")
    ]
    assert not skipping


def test_publication_waits_for_every_public_table(graph):
    public = {
        key
        for key in graph.get_all_asset_keys()
        if graph.get(key).group_name in ("core", "marts", "analytics", "reporting", "learners", "ops", "pages")
        and name_of(key) not in find_unpublished()
        and (name_of(key) not in NODES or is_published(name_of(key)))
    }
    assert graph.get(dg.AssetKey(["published", "learning_warehouse"])).parent_keys == public


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_job_loads_that_contract_only(contract):
    keys = defs.resolve_job_def(job_name(contract)).asset_layer.executable_asset_keys
    assert {key.path[0] for key in keys if key.path[0].startswith("raw_")} == {f"raw_{contract}"}
    assert dg.AssetKey(["published", "learning_warehouse"]) in keys


def test_reporting_is_a_step_of_its_own_after_the_marts(graph):
    """Between the two stands what Python computes of marts and reporting shows."""
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if node.assets_def and node.assets_def.op.name in ("models", "reporting"):
            reads_python = key == dg.AssetKey(["core", "dim_learner_history"])
            is_last = node.group_name in ("reporting", "learners") or reads_python
            assert (node.assets_def.op.name == "reporting") == is_last, key


def test_jobs_run_in_one_process(graph):
    executors = {job.name: job.executor_def.name for job in defs.resolve_all_job_defs()}
    assert set(executors.values()) == {"in_process"}


def test_no_table_comes_from_anything_but_contracts_seeds_and_other_tables(graph):
    """The truth of the simulated university lies in a file of its own: nothing that is published may come from it."""
    roots = {key for key in graph.get_all_asset_keys() if not graph.get(key).parent_keys}
    contract_tables = {dg.AssetKey([c.schema, table.name]) for c in CONTRACTS.values() for table in c.tables}
    seeds = {dg.AssetKey(["marts", path.stem]) for path in (REPOSITORY / "dbt" / "seeds").glob("*.csv")}
    assert roots <= contract_tables | seeds


def test_every_module_of_defs_imports_dagster():
    """What needs no Dagster has a room of its own, where it is tested without it."""
    modules = sorted((REPOSITORY / "dagster_project" / "defs").rglob("*.py"))
    assert len(modules) > 20
    assert [
        str(path.relative_to(REPOSITORY)) for path in modules if path.read_text() and not imports_dagster(path)
    ] == []


def imports_dagster(module: Path) -> bool:
    """Whether a file imports Dagster or one of its libraries, at its top or where it is needed."""
    named: list[str] = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named.append(node.module)
    return any(name.partition(".")[0] in ("dagster", "dagster_dbt") for name in named)


def test_models_read_no_files_of_their_own():
    readers = re.compile(r"read_(csv|json|parquet|text|blob|ndjson)|attach\b|glob\(", re.IGNORECASE)
    models = sorted((REPOSITORY / "dbt" / "models").rglob("*.sql"))
    assert len(models) > 50
    assert [path.name for path in models if readers.search(path.read_text())] == []
