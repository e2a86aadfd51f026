"""Every feature that the driver catalogue names is a described column of a mart at its grain."""

import csv

import pytest
import yaml

from dagster_project.settings import REPOSITORY

MARTS = REPOSITORY / "dbt" / "models" / "marts"
SEEDS = REPOSITORY / "dbt" / "seeds"
# The analysis of a level reads the first; the others hold the column at its own grain.
AT_LEVEL = {
    "learner_program": ["mart_learner_program", "mart_retention_learner_course"],
    "learner_course": ["mart_retention_learner_course"],
}
OWN_GRAIN = ["mart_learner_program", "mart_learner_course", "mart_course_version", "mart_course_term"]


@pytest.fixture(scope="module")
def described() -> dict[str, dict[str, str]]:
    marts = [model for path in MARTS.rglob("*.yml") for model in yaml.safe_load(path.read_text()).get("models", [])]
    return {mart["name"]: {c["name"]: c.get("description", "").strip() for c in mart["columns"]} for mart in marts}


@pytest.fixture(scope="module")
def features() -> set[tuple[str, str]]:
    rows = []
    for seed in ("driver_catalogue", "driver_control_groups"):
        with (SEEDS / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
            rows += [(row["level"], row["mart_column"]) for row in csv.DictReader(file)]
    return set(rows)


def test_every_feature_is_a_described_column_of_the_mart_that_its_analysis_reads(described, features):
    missing = [
        (mart, column) for level, column in features for mart in AT_LEVEL[level] if not described[mart].get(column)
    ]
    assert missing == []


def of_others(column: str) -> bool:
    """The behaviour of a course's other learners, which differs from row to row: only the analysis has it."""
    return column.startswith(("course_", "learning_minutes_"))


def test_every_feature_stands_in_a_mart_of_its_own_grain(described, features):
    alone = [column for _, column in features if not any(described[mart].get(column) for mart in OWN_GRAIN)]
    assert [column for column in alone if not of_others(column)] == []


def test_a_feature_has_one_description_wherever_it_stands(described, features):
    differ = []
    for level, column in features:
        own = [described[mart][column] for mart in OWN_GRAIN if column in described[mart]]
        copy = described["mart_retention_learner_course"][column]
        if copy not in own and not of_others(column):
            differ.append((level, column))
    assert differ == []
