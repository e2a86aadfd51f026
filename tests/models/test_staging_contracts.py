"""Staging of every contract has the columns and types of the canonical entities, and dbt refuses what has not."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from dagster_project.contracts.reading import read_yaml
from dagster_project.defs.resources import dbt_manifest
from dagster_project.settings import REPOSITORY

PROJECT = REPOSITORY / "dbt"
VARIABLES = read_yaml(PROJECT / "dbt_project.yml")["vars"]
ENTITIES = {entity: {"source": "varchar", **columns} for entity, columns in VARIABLES["canonical_entities"].items()}


def test_staging_is_under_the_contract_of_its_canonical_entity():
    staging = {
        node["name"]: node
        for node in dbt_manifest()["nodes"].values()
        # A contract's own steps on the way, int_<contract>__…, are of any form.
        if node["resource_type"] == "model" and node["schema"] == "staging" and node["name"].startswith("stg_")
    }
    expected = {
        f"stg_{contract}__{entity}": ENTITIES[entity]
        for contract in VARIABLES["contracts"]
        for entity in ENTITIES.keys() - set(VARIABLES["absent_entities"].get(contract, ()))
    }
    assert staging.keys() == expected.keys()
    for name, node in staging.items():
        assert node["contract"]["enforced"], name
        stated = [(column["name"], column["data_type"]) for column in node["columns"].values()]
        assert stated == list(expected[name].items()), name


# A source of its own, whose staging is written by hand


class Staging(NamedTuple):
    """A staging model: what it selects, and what its YAML says of it."""

    sql: str
    columns: Mapping[str, str | None]


def selected(columns: Mapping[str, str]) -> str:
    return "select " + ", ".join(f"cast(null as {kind}) as {name}" for name, kind in columns.items())


def canonical_select(columns: Mapping[str, str], entity: str) -> str:
    return f'with final as ({selected(columns)})\n\n{{{{ canonical_select("final", "{entity}") }}}}'


def run(home: Path, models: Mapping[str, Staging]) -> dict[str, str]:
    """The message of each model that `dbt run` refuses of this source, by entity."""
    shutil.copytree(PROJECT / "macros", home / "macros")
    for file in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT / file, home)
    folder = home / "models" / "staging" / "own"
    folder.mkdir(parents=True)
    for entity, (sql, columns) in models.items():
        described = [
            {"name": name} | ({"data_type": kind} if kind is not None else {}) for name, kind in columns.items()
        ]
        name = f"stg_own__{entity}"
        (folder / f"{name}.sql").write_text(sql)
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"models": [{"name": name, "columns": described}]}))
    command = [sys.executable, "-m", "dbt.cli.main", "run", "--no-use-colors", "--profiles-dir", "."]
    environment = {**os.environ, "LEARNING_WAREHOUSE_HOME": str(home), "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    results = home / "target" / "run_results.json"
    assert results.exists(), done.stdout[-4000:]
    found = json.loads(results.read_text())["results"]
    return {x["unique_id"].rpartition("__")[2]: x["message"] for x in found if x["status"] == "error"}


def rows_of(message: str) -> list[tuple[str, ...]]:
    """The rows of the table in dbt's message: column, type of the model, type of the contract, what is wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip().startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> dict[str, str]:
    """The messages of a source with these models, of which the first two are as they should be."""
    terms, programs = ENTITIES["terms"], ENTITIES["programs"]
    skills, courses = ENTITIES["skills"], ENTITIES["courses"]
    institutions, profiles = ENTITIES["institutions"], ENTITIES["profiles"]
    unended = {k: v for k, v in ENTITIES["organization_members"].items() if k != "to_on"}
    rounded = {**ENTITIES["questions"], "maximum_score": "integer"}
    models = {
        "terms": Staging(selected(terms), terms),
        "programs": Staging(canonical_select(programs, "programs"), programs),
        # The model without a column, with one too many, with one of another type.
        "skills": Staging(selected({k: v for k, v in skills.items() if k != "domain"}), skills),
        "courses": Staging(selected({**courses, "credits": "integer"}), courses),
        "institutions": Staging(selected({**institutions, "passing_share": "varchar"}), institutions),
        # Both alike, and both other than the entity.
        "organization_members": Staging(selected(unended), unended),
        "questions": Staging(selected(rounded), rounded),
        # The YAML with another type than canonical_select casts to.
        "profiles": Staging(canonical_select(profiles, "profiles"), {**profiles, "work_experience_count": "bigint"}),
        # canonical_select of what lacks a column.
        "question_skills": Staging(
            canonical_select({"source": "varchar", "question_id": "varchar"}, "question_skills"),
            ENTITIES["question_skills"],
        ),
        # A YAML without types.
        "organizations": Staging(selected(ENTITIES["organizations"]), dict.fromkeys(ENTITIES["organizations"])),
    }
    return run(tmp_path_factory.mktemp("own"), models)


def test_dbt_refuses_a_source_whose_staging_is_not_canonical(refused):
    by_its_contract = {"skills", "courses", "institutions", "organization_members", "questions", "profiles"}
    assert refused.keys() == by_its_contract | {"question_skills", "organizations"}


@pytest.mark.parametrize(
    ("entity", "row"),
    [
        ("skills", ("domain", "", "VARCHAR", "missing in definition")),
        ("courses", ("credits", "INTEGER", "", "missing in contract")),
        ("institutions", ("passing_share", "VARCHAR", "DOUBLE", "data type mismatch")),
        ("organization_members", ("to_on", "", "DATE", "missing in definition")),
        ("questions", ("maximum_score", "INTEGER", "DOUBLE", "data type mismatch")),
        ("profiles", ("work_experience_count", "INTEGER", "BIGINT", "data type mismatch")),
    ],
)
def test_the_message_names_the_column_and_both_types(refused, entity, row):
    assert "This model has an enforced contract that failed." in refused[entity]
    ((name, found, expected, wrong),) = rows_of(refused[entity])
    assert (name, found.upper(), expected.upper(), wrong) == row


def test_canonical_select_of_a_missing_column_is_an_error_of_the_database_that_names_it(refused):
    assert '"final" does not have a column named "skill_id"' in refused["question_skills"]


def test_a_model_without_types_is_told_to_have_them(refused):
    assert "Contracted models require data_type to be defined for each column" in refused["organizations"]
