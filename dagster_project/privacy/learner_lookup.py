"""`make find-learner`: from a pseudonym that somebody read in a published file back to the learner."""

from collections.abc import Iterable
from dataclasses import dataclass

from dagster_project.base.engine import attach, open_engine
from dagster_project.base.errors import StoreError
from dagster_project.base.sql import identifier, literal
from dagster_project.contracts.source import Contract
from dagster_project.ingest.identity import read_key
from dagster_project.privacy.publish_for import consumer_key, published_consumers
from dagster_project.settings import Settings
from dagster_project.store.meta import find_tables
from dagster_project.store.pseudonyms import learner_keys, make_pseudonyms
from dagster_project.store.publish import PUBLIC_SCHEMAS


@dataclass(frozen=True)
class FoundLearner:
    """A learner who bears a pseudonym.

    Attributes:
        learner_key: their key in `core.dim_learner` of the build database.
        place: where the pseudonym is theirs.
        identity: what the identity store holds of them, by column.
    """

    learner_key: str
    place: str
    identity: dict[str, str]

    def __str__(self) -> str:
        known = "; ".join(f"{column}: {value}" for column, value in self.identity.items())
        return f"{self.learner_key}, by a pseudonym of {self.place}. Identity store: {known or 'nothing'}"


def find_learner(settings: Settings, contracts: Iterable[Contract], pseudonym: str) -> list[FoundLearner]:
    """Learners who bear a pseudonym in the warehouse, in what is published, or in a consumer's file.

    Pseudonyms of an earlier publication key are not found: set that key again.

    Args:
        pseudonym: a `learner_id`, a `learner_key`, or any key that begins with one.

    Raises:
        StoreError: nobody bears it; or nothing is built yet, or a run writes.
    """
    source, _, rest = pseudonym.partition(":")
    wanted = [f"{source}:{rest.split(':')[0]}"] if rest else []
    with open_engine(settings) as connection:
        attach(connection, settings.build_database, "build")
        keys = learner_keys("build", find_tables(connection, "build", PUBLIC_SCHEMAS))
        connection.execute(
            "create temporary table known as select distinct learner_key, learner_key as published_key "
            f"from ({keys}) as keys (learner_key) where learner_key is not null"
        )
        if not rest:
            sources = connection.execute("select distinct split_part(learner_key, ':', 1) from known").fetchall()
            wanted = [f"{name}:{pseudonym}" for (name,) in sources]
        places = {"the warehouse itself": "select learner_key, learner_key as worn from known"}
        if settings.publication_key is not None:
            make_pseudonyms(
                connection, "select learner_key from known", settings.publication_key.get_secret_value().encode()
            )
            connection.execute(
                "update known set published_key = other_key from pseudonyms "
                "where pseudonyms.learner_key = known.learner_key"
            )
            places["what is published"] = "select learner_key, published_key as worn from known"
        found = [(key, place) for place, query in places.items() for key in _wearers(connection, query, wanted)]
        for kind, key in published_consumers(settings):
            make_pseudonyms(connection, "select published_key from known", consumer_key(kind, key, read_key(settings)))
            query = (
                "select known.learner_key, other_key as worn from known "
                "inner join pseudonyms on known.published_key = pseudonyms.learner_key"
            )
            found += [(learner, f"the file of {kind} {key}") for learner in _wearers(connection, query, wanted)]
        contracts = list(contracts)
        learners = [FoundLearner(key, place, _identity(connection, settings, contracts, key)) for key, place in found]
    if not learners:
        raise StoreError(
            f"Nobody bears {pseudonym!r}: looked in {', '.join(places)} and the consumers' files. If the publication "
            "key was changed since, set the earlier one and ask again"
        )
    return learners


def _wearers(connection, query: str, wanted: list[str]) -> list[str]:
    worn = ", ".join(map(literal, wanted)) or "null"
    rows = connection.execute(f"select distinct learner_key from ({query}) where worn in ({worn})").fetchall()
    return sorted(key for (key,) in rows)


def _identity(connection, settings: Settings, contracts: Iterable[Contract], learner_key: str) -> dict[str, str]:
    source, _, person = learner_key.partition(":")
    known: dict[str, str] = {}
    for contract in contracts:
        for table in contract.tables:
            folder = settings.identity_dir / contract.name / table.name / f"source={source}"
            ids = [identifier(column.name) for column in table.pseudonym_columns]
            columns = [column.name for column in table.direct_columns]
            for path in sorted(folder.glob("*.parquet")) if ids and columns else ():
                rows = connection.execute(
                    f"select {', '.join(map(identifier, columns))} from read_parquet({literal(path)}) "
                    f"where {' or '.join(f'{column} = {literal(person)}' for column in ids)}"
                ).fetchall()
                for row in rows:
                    known |= {name: str(value) for name, value in zip(columns, row, strict=True) if value is not None}
    return known
