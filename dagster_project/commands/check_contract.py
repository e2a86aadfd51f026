"""`make check-contract`: what a contract makes of some files, before they are anybody's source."""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.commands.environment import say
from dagster_project.settings import PREFIX, REPOSITORY, Settings

if TYPE_CHECKING:
    from dagster_project.contracts.source import Contract

SOURCE = "sample"


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when staging could be built, 1 when it could not, 2 when the files cannot be loaded.

    Everything happens in a temporary warehouse, which is gone afterwards.
    """
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.contracts.reading import ContractError
    from dagster_project.defs.transform.dbt import build_staging
    from dagster_project.ingest.preflight import check_landing

    name = arguments.contract
    if name not in CONTRACTS:
        raise ContractError(
            f"No contract {name} is in use; there are {', '.join(CONTRACTS)}. A new one is a folder "
            "dbt/models/staging/<name> and its word in dbt/dbt_project.yml, vars: contracts (docs/add_a_contract.md)"
        )
    settings.home.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="check-contract-", dir=settings.home))
    try:
        apart = settings.model_copy(update={"home": home})
        for note in check_landing(CONTRACTS[name], SOURCE, arguments.landing, apart):
            say(f"Note: {note}")
        loaded = _load(CONTRACTS[name], arguments.landing, apart)
        os.environ[f"{PREFIX}HOME"] = str(home)  # dbt reads it there
        failed, warned = build_staging(name, home / "dbt")
        print("\n".join([*loaded, "", *_told(CONTRACTS[name], apart, failed, warned)]))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if failed else 0


def _load(contract: "Contract", landing: Path, settings: Settings) -> list[str]:
    """Load every table; lines that tell how."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.audit import refused_reasons
    from dagster_project.ingest.landing import all_files, of_table
    from dagster_project.ingest.loader import ensure_empty_files, load_table

    lines = ["Tables of the contract, as the files fill them:"]
    taken: set[str] = set()
    files = list(all_files(landing))
    for table in contract.tables:
        taken |= {file.name for file in of_table(table, files)}
        result = load_table(contract, table.name, SOURCE, landing, settings)
        if not result.files:
            lines.append(f"  {table.name}: no file; it may be absent")
            continue
        lines.append(
            f"  {table.name}: {result.records:,} records in {len(result.files)} file(s), {result.refused:,} refused"
        )
        lines += [f"    {file.name}: refused whole: {file.reason}" for file in result.refused_files]
        lines += sorted({f"    {warning}" for file in result.files for warning in file.warnings})
    if left := sorted({file.name for file in files} - taken):
        shown = ", ".join(left[:10]) + (f" and {len(left) - 10:,} more" if len(left) > 10 else "")
        lines.append(f"  Files that no table of the contract takes: {shown}")
    lines += [f"  refused: {reason}" for reason in refused_reasons(contract, SOURCE, settings)]
    for other in CONTRACTS.values():  # of which core unions the views
        ensure_empty_files(other, settings)
    return lines


def _told(contract: "Contract", settings: Settings, failed: list[str], warned: list[str]) -> list[str]:
    """What staging makes of it."""
    from dagster_project.base.engine import open_database
    from dagster_project.contracts.reading import read_yaml
    from dagster_project.report import contract_check as check

    variables = read_yaml(REPOSITORY / "dbt" / "dbt_project.yml")["vars"]
    absent = variables["absent_entities"].get(contract.name, [])
    lines = [f"Failed in staging: {text}" for text in failed] + [f"Warning: {text}" for text in warned]
    lines += [""] if lines else []
    with open_database(settings, settings.build_database) as connection:
        built = {name for (name,) in connection.execute("select view_name from duckdb_views()").fetchall()}
        entities = {
            name: check.filled(connection, contract.name, name, list(columns))
            for name, columns in variables["canonical_entities"].items()
            if name not in absent and f"stg_{contract.name}__{name}" in built
        }
        lines.append("Canonical entities, as staging fills them (five rows of each; ids of learners are pseudonyms):")
        for entity in entities.values():
            lines += ["", *check.written(entity)]
        lines += ["", "What is not mapped:"]
        lines.append(f"  entities that the contract does not carry: {', '.join(absent) or 'none'}")
        own_macros = REPOSITORY / "dbt" / "macros" / f"{contract.name}.sql"
        read = [*sorted(contract.path.parent.glob("*.sql")), *([own_macros] if own_macros.exists() else [])]
        sql = "\n".join(path.read_text() for path in read)
        columns = {table.name: [column.name for column in table.raw_columns] for table in contract.tables}
        lines += [f"  {text}" for text in check.unread(columns, sql)]
        lines += [f"  {text}" for text in check.strangers(connection, contract.name, entities)]
        lines += ["", "What this source will answer:"]
        for answer, lacking in check.answers(connection, contract.name, entities):
            lines.append(
                f"  {'no ' if lacking else 'yes'} {answer}" + (f": no {'; no '.join(lacking)}" if lacking else "")
            )
    return lines
