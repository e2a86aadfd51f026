"""The contracts under `dbt/models/staging`, read once when the definitions load."""

import dagster as dg

from dagster_project.ingest.contract import Contract, read_contracts
from dagster_project.settings import REPOSITORY

CONTRACTS: dict[str, Contract] = read_contracts(REPOSITORY / "dbt" / "models")


def raw_key(contract: str, table: str) -> dg.AssetKey:
    """Asset key of a contract's table; dbt's sources have the same."""
    return dg.AssetKey([f"raw_{contract}", table])
