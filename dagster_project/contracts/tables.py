"""What the store needs from the dbt sources files: the tables that Python writes, and which columns are personal."""

from dataclasses import dataclass
from pathlib import Path

from dagster_project.contracts.reading import ContractError, meta_of, one_line, read_yaml
from dagster_project.settings import REPOSITORY

MODELS = REPOSITORY / "dbt" / "models"
ANALYTICS_CONTRACTS = MODELS / "analytics" / "_analytics__sources.yml"
OPS_CONTRACTS = MODELS / "ops" / "_ops__sources.yml"


@dataclass(frozen=True)
class Column:
    """A column that Python writes."""

    name: str
    data_type: str
    description: str
    required: bool


@dataclass(frozen=True)
class TableContract:
    """A table that Python writes.

    `config.meta` of the table: `delivery: append` makes it append-only; `published: false` keeps it out of snapshots.
    """

    table: str
    description: str
    columns: tuple[Column, ...]
    append_only: bool
    is_published: bool = True


def read_contracts(path: Path = ANALYTICS_CONTRACTS) -> dict[str, TableContract]:
    """Contracts by "schema.table", from a dbt sources file.

    Raises:
        ContractError: the file is not there or is not YAML, or a column has no `data_type`.
    """
    contracts = {}
    for source in read_yaml(path).get("sources", []):
        for table in source.get("tables") or ():
            name = f"{source.get('schema', source['name'])}.{table['name']}"
            contracts[name] = TableContract(
                table=name,
                description=one_line(table),
                columns=tuple(_read_column(path, name, column) for column in table["columns"]),
                append_only=meta_of(table).get("delivery") == "append",
                is_published=meta_of(table).get("published", True),
            )
    return contracts


def find_direct_identifiers(models: Path = MODELS) -> dict[str, str]:
    """Column name in lower case → the "schema.table" whose contract marks it `pii: direct`."""
    found = {}
    for path in sorted(models.rglob("*__sources.yml")):
        for source in read_yaml(path).get("sources", []):
            for table in source.get("tables", []):
                for column in table.get("columns", []):
                    if meta_of(column).get("pii") == "direct":
                        found[column["name"].lower()] = f"{source.get('schema', source['name'])}.{table['name']}"
    return found


def find_unpublished(models: Path = MODELS) -> set[str]:
    """Names, "schema.table", of the tables of Python whose contract says `published: false`."""
    paths = [models / path.relative_to(MODELS) for path in (ANALYTICS_CONTRACTS, OPS_CONTRACTS)]
    contracts = [contract for path in paths if path.exists() for contract in read_contracts(path).values()]
    return {contract.table for contract in contracts if not contract.is_published}


def _read_column(path: Path, table: str, column: dict) -> Column:
    if "data_type" not in column:
        raise ContractError(
            f"{path}, table {table}, column {column['name']}: no data_type. Python creates the table from it: add one"
        )
    return Column(column["name"], column["data_type"], one_line(column), bool(meta_of(column).get("required")))
