"""`make call-list`: who the learners of the published call list are, from the identity store."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from dagster_project.base.engine import attach, open_database, open_engine
from dagster_project.base.errors import StoreError
from dagster_project.base.sql import identifier, literal
from dagster_project.contracts.source import Contract
from dagster_project.ingest.changes import contract_hash
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.requests import Erasures, tombstone
from dagster_project.settings import PREFIX, Settings
from dagster_project.store.carry_over import make_marks
from dagster_project.store.meta import find_tables
from dagster_project.store.pseudonyms import learner_keys, make_pseudonyms
from dagster_project.store.publish import DATABASE, PUBLIC_SCHEMAS

if TYPE_CHECKING:
    import pandas as pd

TABLE = "learners.call_list"


@dataclass(frozen=True)
class ListedPerson:
    """A learner of the published list.

    Attributes:
        pseudonym: the inner one.
        identity: what the identity store holds of them, by column in the contract's order.
    """

    pseudonym: str
    identity: Mapping[str, str]


@dataclass(frozen=True)
class PublishedList:
    """The published call list, without learners who asked to be erased, and who its learners are by `learner_key`."""

    snapshot_id: str
    rows: "pd.DataFrame"
    people: Mapping[str, ListedPerson]


def read_published_list(settings: Settings, contracts: Iterable[Contract], program: str | None = None) -> PublishedList:
    """The call list of the published snapshot with the people of the identity store. Call it while holding the lock.

    Args:
        program: id, key or name of a program; None: all, and the courses of none.

    Raises:
        StoreError: nothing is published, the list has no such program, or a key has changed since, so that nothing
            tells who the learners are.
    """
    contracts = list(contracts)
    database = settings.published_dir / DATABASE
    if not database.exists():
        raise StoreError(
            f"Nothing is published yet: {database} is not there. A run that ends well publishes the list first: "
            "make run SOURCE=… LANDING=…"
        )
    with open_database(settings, database.resolve()) as connection:
        told = connection.execute("from _meta.publication")
        names = [name for name, *_ in told.description]
        publication = dict(zip(names, told.fetchall()[0], strict=True))
        try:
            rows = connection.execute(f"from {TABLE}").df()
        except duckdb.CatalogException:
            raise StoreError(
                f"The published snapshot {publication['snapshot_id']} has no {TABLE}: an earlier version of this "
                "project made it. Run a source once, and ask again"
            ) from None
    if publication.get("pseudonyms_hash") != make_marks(settings, None, {}).pseudonyms_hash:
        raise StoreError(
            f"The learners of the published snapshot {publication['snapshot_id']} bear pseudonyms of another "
            f"{PREFIX}PUBLICATION_KEY than the one that is set now: nothing leads back from them. Set that one again, "
            "or run a source, which publishes anew"
        )
    rows = _of_program(rows, program)
    inner = _inner_keys(settings, rows["learner_key"])
    _check_key(settings, contracts, {key.partition(":")[0] for key in inner.values()})
    erasures = Erasures(settings)
    erased = {erasure.tombstone for erasure in erasures.all()}
    gone = {worn for worn, key in inner.items() if erased and tombstone(key, erasures.key) in erased}
    rows = rows[~rows["learner_key"].isin(gone)]
    people = _people(settings, contracts, {worn: key for worn, key in inner.items() if worn not in gone})
    return PublishedList(publication["snapshot_id"], rows, people)


def _of_program(rows: "pd.DataFrame", program: str | None) -> "pd.DataFrame":
    if program is None:
        return rows
    keys = rows["program_key"].fillna("")
    found = (keys == program) | (keys.str.partition(":")[2] == program) | (rows["program_name"] == program)
    if not found.any():
        known = rows[["program_key", "program_name"]].dropna().drop_duplicates().sort_values("program_key")
        listed = "; ".join(f"{key} ({name})" for key, name in known.itertuples(index=False)) or "none"
        raise StoreError(f"Nobody of a program {program!r} is on the published list. Programs with somebody: {listed}")
    return rows[found]


def _inner_keys(settings: Settings, worn: Iterable[str]) -> dict[str, str]:
    """Key in the build database by the published one."""
    if settings.publication_key is None:
        return {key: key for key in worn}
    with open_engine(settings) as connection:
        attach(connection, settings.build_database, "build")
        keys = learner_keys("build", find_tables(connection, "build", PUBLIC_SCHEMAS))
        make_pseudonyms(connection, keys, settings.publication_key.get_secret_value().encode())
        others = dict(connection.execute("select other_key, learner_key from pseudonyms").fetchall())
    return {key: others[key] for key in worn if key in others}


def _check_key(settings: Settings, contracts: Iterable[Contract], sources: Collection[str]) -> None:
    """Refuse when the identity store was written under another pseudonym key, or when that key is gone."""
    if settings.pseudonym_key is None and not settings.generated_key_file.exists():
        raise StoreError(
            f"The pseudonym key is gone: {settings.generated_key_file} is not there, and {PREFIX}PSEUDONYM_KEY is not "
            "set. Put it back; without it nobody can tell who the learners are"
        )
    key, ledger = Erasures(settings).key, Ledger(settings)
    for contract in contracts:
        for table in (x for x in contract.tables if x.has_direct):
            now = contract_hash(contract, table, key)
            for source in sorted(sources):
                loaded = [x for x in ledger.files(contract.name, table.name, source) if x.status == "loaded"]
                if any(x.contract_hash != now for x in loaded):
                    raise StoreError(
                        f"Table {table.name} of source {source} was loaded under another {PREFIX}PSEUDONYM_KEY (or "
                        "another contract) than today's: its names would not be found, or be those of others. Set the "
                        "earlier key again, or run the source, which loads and publishes it anew: "
                        f"make run SOURCE={source}"
                    )


def _people(settings: Settings, contracts: Iterable[Contract], inner: Mapping[str, str]) -> dict[str, ListedPerson]:
    """People by their published key.

    Raises:
        StoreError: the identity store knows people of a source, and none of those on the list.
    """
    identities: dict[str, dict[str, str]] = {}
    strangers = []
    with open_engine(settings) as connection:
        for contract in contracts:
            for table in (x for x in contract.tables if x.has_direct):
                for source in sorted({key.partition(":")[0] for key in inner.values()}):
                    files = sorted(
                        (settings.identity_dir / contract.name / table.name / f"source={source}").glob("*.parquet")
                    )
                    wanted = [key.partition(":")[2] for key in inner.values() if key.startswith(f"{source}:")]
                    found = _read(connection, table, files, wanted)
                    for person, known in found.items():
                        identities.setdefault(f"{source}:{person}", {}).update(known)
                    if files and wanted and not found:
                        strangers.append(source)
    if strangers:
        raise StoreError(
            f"Nobody of the published list of {', '.join(strangers)} is in the identity store {settings.identity_dir}: "
            f"its pseudonyms are of another {PREFIX}PSEUDONYM_KEY. Run the source, which publishes anew, and ask again"
        )
    return {worn: ListedPerson(key.partition(":")[2], identities.get(key, {})) for worn, key in sorted(inner.items())}


def _read(connection, table, files: list, wanted: list[str]) -> dict[str, dict[str, str]]:
    """Direct identifiers by pseudonym."""
    if not (files and wanted):
        return {}
    listed = ", ".join(map(literal, files))
    columns = [column.name for column in table.direct_columns]
    found: dict[str, dict[str, str]] = {}
    for column in table.pseudonym_columns:
        person = identifier(column.name)
        query = (
            f"select {person}, {', '.join(map(identifier, columns))} "
            f"from read_parquet([{listed}], hive_partitioning = false) where {person} in (select unnest(?::varchar[]))"
        )
        for key, *values in connection.execute(query, [wanted]).fetchall():
            known = {name: str(value) for name, value in zip(columns, values, strict=True) if value is not None}
            found.setdefault(key, {}).update(known)
    return found
