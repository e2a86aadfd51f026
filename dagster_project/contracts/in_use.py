"""The contracts that this warehouse works with, read once when the definitions load."""

from dagster_project.contracts.reading import ContractError, read_yaml
from dagster_project.contracts.source import Contract, read_contracts
from dagster_project.settings import REPOSITORY


def _contracts_in_use() -> dict[str, Contract]:
    """Those of `dbt/models/staging` that are named in the list that core unions."""
    contracts = read_contracts(REPOSITORY / "dbt" / "models")
    project = read_yaml(REPOSITORY / "dbt" / "dbt_project.yml")
    unknown = [name for name in project["vars"]["contracts"] if name not in contracts]
    if unknown:
        raise ContractError(
            f"dbt/dbt_project.yml, vars: contracts: found {', '.join(unknown)}, of which there is no sources file; "
            f"under dbt/models/staging lie {', '.join(contracts)}"
        )
    return {name: contracts[name] for name in project["vars"]["contracts"]}


CONTRACTS: dict[str, Contract] = _contracts_in_use()
