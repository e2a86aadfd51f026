"""The list of printed sentences, and that a test stands behind each.

`sentences.csv` has a row for every sentence and test: the document, its page (or heading), the sentence, the columns
that it defines, and the test that proves them. "Report" is the retention report, its pages counted by the page breaks
of its text, the cover being 1; "Definitions" are the exact readings of its words, by heading.
"""

import ast
import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.definitions.university import REPOSITORY, quotes, sentences

HERE = Path(__file__).parent
SEEDS = REPOSITORY / "dbt" / "seeds"
# Controls of a student that the report does not print.
NOT_PRINTED = {"employment_status", "has_target_role", "is_sponsored"}


def proofs_in(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{path.name}::{node.name}", node


TESTS = {name: node for path in sorted(HERE.glob("test_*.py")) for name, node in proofs_in(path)}
PROOFS = {name: node for name, node in TESTS.items() if not name.startswith(Path(__file__).name)}


def test_every_sentence_has_a_test_and_the_test_quotes_it():
    for row in sentences():
        quoted = (row["document"], row["page"], row["sentence"])
        assert row["test"] in PROOFS, f"no test {row['test']!r} for {quoted}"
        assert row["columns"], f"the list names no column that {quoted} defines"
        assert quoted in quotes(ast.get_docstring(PROOFS[row["test"]])), f"{row['test']} does not quote {quoted}"


def test_every_quote_of_a_test_stands_in_the_list():
    listed = {(row["document"], row["page"], row["sentence"], row["test"]) for row in sentences()}
    quoted = {(*quote, name) for name, node in PROOFS.items() for quote in quotes(ast.get_docstring(node))}
    assert quoted == listed
    assert {name for *_, name in quoted} == PROOFS.keys()


@pytest.mark.parametrize("name", PROOFS)
def test_every_test_of_a_sentence_is_given_the_built_warehouse(name):
    """The fixture `built` fails a test that reads none of the columns that its sentences define."""
    assert "built" in [argument.arg for argument in PROOFS[name].args.args]


@pytest.mark.parametrize("seed", ["driver_catalogue.csv", "driver_control_groups.csv"])
def test_every_driver_and_control_is_defined_by_a_sentence(seed):
    with (SEEDS / seed).open(encoding="utf-8", newline="") as file:
        wanted = {row["mart_column"] for row in csv.DictReader(file)}
    defined = {column.split(".")[1] for row in sentences() for column in row["columns"].split()}
    assert wanted - defined - NOT_PRINTED == set()


def test_no_definition_is_taken_from_the_simulation():
    for path in HERE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [x.name for x in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [x for x in names if x.startswith("dagster_project.simulate")], path.name
