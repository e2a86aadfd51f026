"""Contracts: the YAML becomes frozen values, and a malformed one names file, place and expectation."""

import re
from datetime import date

import pytest
import yaml

from dagster_project.contracts.reading import ContractError
from dagster_project.contracts.source import TimeRange, read_contract, read_contracts
from dagster_project.contracts.tables import read_contracts as read_tables
from dagster_project.settings import REPOSITORY
from tests.unit.landing_files import CAMPUS, PERSONAL, contract_from


def test_oulad_contract_is_read_as_it_is_written():
    contract = read_contracts(REPOSITORY / "dbt" / "models")["oulad"]
    clicks = contract.table("studentVle")
    assert contract.dialect.null_values == ("", "?")
    assert clicks.is_event
    assert clicks.delivery == "append"
    assert clicks.key == ()
    assert clicks.time_range == TimeRange(date(2013, 1, 1), date(2015, 7, 31))
    assert contract.table("studentInfo").key == ("code_module", "code_presentation", "id_student")
    assert contract.table("assessments").references[0].to == ("code_module", "code_presentation")


def test_event_time_makes_an_event_table_of_its_date(tmp_path):
    events = contract_from(CAMPUS, tmp_path).table("events")
    assert events.event_date == 'cast("occurred_at" as date)'
    assert events.received_time == "received_at"


def test_raw_leaves_out_direct_identifiers(tmp_path):
    people = contract_from(PERSONAL, tmp_path).table("people")
    assert [column.name for column in people.raw_columns] == ["person", "visits"]
    assert [column.name for column in people.direct_columns] == ["full_name", "email"]


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (
            CAMPUS,
            "delivery: append",
            "delivery: daily",
            "table events: delivery: found 'daily', expected append or snapshot",
        ),
        (
            CAMPUS,
            "required: true",
            "requierd: true",
            "column learner_id: config: meta: requierd: found True, expected no such",
        ),
        (CAMPUS, "data_type: double", "data_type: money", "column minutes: data_type: found 'money', expected one of"),
        (CAMPUS, "event_time: occurred_at", "event_time: minutes", "event_time: found 'minutes', expected a column"),
        (CAMPUS, "key: [learner_id]", "key: [id]", "table learners: key: found 'id', expected columns of the table"),
        (CAMPUS, "to: 2024-12-31", "to: 2023-12-31", "time_range: to: found"),
        (CAMPUS, "from: 2024-01-01", "from: yesterday", "time_range: from: found 'yesterday', expected a date"),
        (CAMPUS, "name: country", "name: source", "name: found 'source', expected printable, none of"),
        (CAMPUS, "name: country", "name: LEARNER_ID", "columns: found 'learner_id', expected every name once"),
        (
            CAMPUS,
            "name: note, data_type: varchar",
            "name: note, data_type: varchar, config: {meta: {required: {kind: text}}}",
            "column note: required: found 'kind', expected a column of the table with data_type varchar",
        ),
        (
            CAMPUS,
            "name: note, data_type: varchar",
            "name: note, data_type: varchar, config: {meta: {required: {minutes: 1}}}",
            "required: found {'minutes': 1}, expected true, false, or one column with one text: {column: value}",
        ),
        (CAMPUS, 'delimiter: ","', 'delimiter: ",,"', "csv: delimiter: found ',,', expected one ASCII character"),
        (
            CAMPUS,
            "key: [learner_id]",
            "references: [{columns: [country], table: lands}]",
            "table: found 'lands', expected a",
        ),
        (
            PERSONAL,
            "required: true, pii: pseudonym",
            "required: true",
            "pii: found 'direct', expected a column with pii",
        ),
        (
            CAMPUS,
            "name: note, data_type: varchar",
            "name: note, data_type: varchar, config: {meta: {part: /learn/}}",
            "part: found '/learn/', expected a regular expression with one group",
        ),
        (
            CAMPUS,
            "name: note, data_type: varchar",
            "name: note, data_type: varchar, config: {meta: {json: true, pii: dropped}}",
            "json: found True, expected data_type varchar, and neither pii,",
        ),
        (
            CAMPUS,
            "name: minutes, data_type: double",
            "name: minutes, data_type: double, config: {meta: {pii: dropped}}",
            "data_type: found 'double', expected varchar, since a value that is dropped is not read",
        ),
        (
            PERSONAL,
            "name: person, data_type: varchar",
            "name: person, data_type: bigint",
            "found 'bigint', expected varchar",
        ),
    ],
)
def test_malformed_contract_names_file_place_and_expectation(tmp_path, text, old, new, message):
    assert old in text
    with pytest.raises(ContractError, match=re.escape(message)) as error:
        contract_from(text.replace(old, new), tmp_path)
    assert "__sources.yml" in str(error.value)


def test_unknown_table_names_the_tables_there_are(tmp_path):
    with pytest.raises(ContractError, match="no table 'student'; it has learners, events"):
        contract_from(CAMPUS, tmp_path).table("student")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sources:\n  - name: campus\n    tables: [learners, events\n  - name: next\n", "line 4, column 9"),
        ("sources:\n- name: campus\n  description: all of: them\n", "line 3, column 22"),
        ("sources: *unknown\n", "line 1, column 10"),
    ],
)
@pytest.mark.parametrize("read", [read_contract, read_tables])
def test_yaml_that_cannot_be_read_is_named_with_its_line(tmp_path, read, text, place):
    path = tmp_path / "_x__sources.yml"
    path.write_text(text)
    with pytest.raises((ContractError, yaml.YAMLError)) as error:
        read(path)
    assert isinstance(error.value, ContractError)
    assert str(error.value).startswith(f"{path}, {place}: not a readable YAML file: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe", "not a readable YAML file"), (b"- a\n", "found ['a'], expected keys and values")],
)
def test_a_file_of_something_else_is_told_so(tmp_path, content, told):
    path = tmp_path / "_x__sources.yml"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=re.escape(told)):
        read_contract(path)


def test_a_contract_makes_no_object_of_python(tmp_path):
    path = tmp_path / "_x__sources.yml"
    path.write_text("sources: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ContractError, match="line 1, column 10: not a readable YAML file: could not determine"):
        read_contract(path)


def test_file_that_is_not_yaml_or_lies_elsewhere_is_refused(tmp_path):
    path = tmp_path / "_x__sources.yml"
    path.write_text("sources: [")
    with pytest.raises(ContractError, match="not a readable YAML file"):
        read_contract(path)
    path.write_text(CAMPUS)
    with pytest.raises(ContractError, match=r"expected the name of its folder and file: tiny/_tiny__sources\.yml"):
        read_contract(path)
    with pytest.raises(ContractError, match="no contract found"):
        read_contracts(tmp_path)
