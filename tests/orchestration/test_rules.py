"""Every column of every mart is under some rule: a dbt test, a constraint, a unit test or an expectation.

Every column of every model is described, and what several models say word for word stands in one place.
"""

import re
from collections import defaultdict

import pytest

from dagster_project.analyses.quality.suite import read_suites
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.transform.assets import ANALYTICS, MANIFEST, NODES, PUBLIC_MODELS

MODELS = {name: node for name, node in NODES.items() if node["resource_type"] == "model"}
MARTS = {name: node for name, node in MODELS.items() if node["schema"] == "marts"}
BLOCKS = {
    key for key, block in MANIFEST["docs"].items() if block["package_name"] == MANIFEST["metadata"]["project_name"]
}

# Columns that no rule of their own could say anything true about, and what guards them instead.
GUARDED_ELSEWHERE = {
    "source": "part of every key; unioned by core, whose sources are tested against the registered ones",
    # Descriptions taken as the source gives them, in its own words.
    "gender": "checked where it enters, in raw",
    "age_band": "checked where it enters, in raw",
    "country": "checked where it enters, in raw",
    "region": "the source's own words",
    "education_level": "checked where it enters, in raw",
    "employment_status": "checked where it enters, in raw",
    "deprivation_band": "the source's own words",
    "level": "checked where it enters, in raw",
    "season": "checked where it enters, in raw",
}


def columns_under_a_rule(tables: dict = MARTS) -> set[tuple[str, str]]:
    """(table, column) of all rules of these tables."""
    found = set()
    names = {node["unique_id"]: name for name, node in tables.items()}
    for test in MANIFEST["nodes"].values():
        if test["resource_type"] == "test" and (table := names.get(test.get("attached_node"))):
            arguments = test["test_metadata"]["kwargs"]
            several = arguments.get("combination") or arguments.get("columns") or arguments.get("ranges") or []
            found |= {(table, column) for column in [test["column_name"], *several] if column}
    for test in MANIFEST["unit_tests"].values():
        for row in test["expect"]["rows"] or []:
            found |= {(f"marts.{test['model']}", column) for column in row}
    for name, node in tables.items():
        found |= {(name, column) for column, described in node["columns"].items() if described["constraints"]}
    for suite in read_suites():
        for expectation in suite.expectations:
            found |= {(f"{suite.schema}.{suite.table}", column) for column in expectation.columns}
    return found


def test_every_raw_table_mart_and_analytics_table_has_a_suite():
    raw = {f"{contract.schema}.{table.name}" for contract in CONTRACTS.values() for table in contract.tables}
    expected = raw | MARTS.keys() | ANALYTICS.keys()
    assert {f"{suite.schema}.{suite.table}" for suite in read_suites()} >= expected


def test_every_published_table_is_under_some_rule():
    tested = {table for table, _ in columns_under_a_rule(NODES)}
    assert [
        name for name in (key.to_user_string().replace("/", ".") for key in PUBLIC_MODELS) if name not in tested
    ] == []


@pytest.mark.parametrize("table", MARTS)
def test_every_column_of_a_mart_is_under_some_rule(table):
    rules = columns_under_a_rule()
    bare = [
        column for column in MARTS[table]["columns"] if (table, column) not in rules and column not in GUARDED_ELSEWHERE
    ]
    assert bare == [], f"{table}: give these columns a test in its YAML, or a rule in expectations/{table}.json"


def described_columns() -> list[tuple[str, str, dict]]:
    """(table, column, what the manifest has of it) of every model."""
    return [(name, column, found) for name, node in MODELS.items() for column, found in node["columns"].items()]


def test_every_column_of_a_model_is_described():
    texts = [(f"{table}.{column}", found["description"]) for table, column, found in described_columns()]
    assert [column for column, text in texts if not text.strip() or "doc(" in text] == []


def test_a_description_that_three_models_share_stands_in_a_block():
    wordings = defaultdict(list)
    for table, column, found in described_columns():
        wordings[column, " ".join(found["description"].split())].append((table, found))
    typed = {
        f"{column}: {text}": bare
        for (column, text), there in wordings.items()
        if len(there) >= 3 and (bare := [table for table, found in there if not found["doc_blocks"]])
    }
    assert typed == {}, "give it a block in dbt/models/shared_columns.md, and these tables doc() of it"


def test_every_block_describes_a_column():
    used = {block for _, _, found in described_columns() for block in found["doc_blocks"]}
    assert BLOCKS
    assert BLOCKS - used == set()


def test_contracts_hold_their_own_text():
    """Python reads these files as they stand, where doc() would be no description."""
    columns = [(key, column) for key, source in MANIFEST["sources"].items() for column in source["columns"].values()]
    assert [(key, column["name"]) for key, column in columns if column["doc_blocks"]] == []


def test_tables_made_by_touched_entity_look_at_all_that_they_read():
    """A table that is read and not hashed would change, and rows that follow from it would not."""
    touched = {name: node for name, node in NODES.items() if any("find_touched" in x["sql"] for x in hooks_of(node))}
    assert len(touched) >= 5
    for name, node in touched.items():
        (called,) = {found for x in hooks_of(node) for found in re.findall(r"\b(\w+_inputs)\(", x["sql"])}
        texts, waiting = "", [f"macro.learning_warehouse.{called}"]
        while waiting:
            macro = MANIFEST["macros"][waiting.pop()]
            texts += macro["macro_sql"]
            waiting += [x for x in macro["depends_on"]["macros"] if x.startswith("macro.learning_warehouse.")]
        parents = {x.rpartition(".")[2] for x in node["depends_on"]["nodes"]} - {"int_events_resolved"}
        assert {parent for parent in parents if f'"{parent}"' not in texts} == set(), name


def hooks_of(node) -> list:
    return node["config"]["pre-hook"]
