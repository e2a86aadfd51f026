"""Whether there is anything to do, found out before Dagster, dbt or pandas is imported."""

from typing import TYPE_CHECKING

from dagster_project.base import clock
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.ingest.sources import Source
    from dagster_project.store.accepted import State


def up_to_date(settings: Settings, source: "Source") -> "State | None":
    """What the last publication took, where a run of this source would find nothing to do; else None.

    Compared are the files that lie there, the code, the settings, erasures that wait, what the ledger knows and the
    clock. Where one differs, the plan of the run says what follows from it.
    """
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest import identity
    from dagster_project.ingest.changes import changed_tables, table_state
    from dagster_project.ingest.ledger import Ledger
    from dagster_project.ingest.requests import Erasures
    from dagster_project.store import accepted
    from dagster_project.store.plan import part_of

    state = accepted.read(settings)
    if state is None or not settings.build_database.exists():
        return None
    if state.sources.get(source.name) != (source.contract, str(source.landing)):
        return None
    if state.is_due(clock.now_as_stored()):
        return None
    if state.settings != accepted.settings_hash(settings, identity.read_key(settings)):
        return None
    ledger, contract = Ledger(settings), CONTRACTS[source.contract]
    if ledger.interrupted() or ledger.marked_dates(contract.name, source.name).dates:
        return None
    if Erasures(settings).at("asked", "unloaded", "unbuilt"):
        return None
    for table in contract.tables:
        part = part_of(f"{contract.schema}.{table.name}", source.name)
        if state.versions.get(part) != table_state(contract, table, settings, source.name):
            return None
    if state.code != accepted.code_hash() or changed_tables(contract, source, settings):
        return None
    return state
