"""`make publish-for`: a consumer's file, made with the secrets and the identity store of this warehouse."""

from collections.abc import Callable, Iterable

from dagster_project.base.errors import PublishError
from dagster_project.base.locks import WriteLock
from dagster_project.contracts.source import Contract
from dagster_project.identifier_search import identity_files
from dagster_project.ingest.requests import Erasures
from dagster_project.settings import Settings
from dagster_project.store.consumers import Kind
from dagster_project.store.publish_for import ConsumerPublication, publish_for


def publish_consumer(
    settings: Settings,
    contracts: Iterable[Contract],
    kind: Kind,
    wanted: str,
    *,
    run_id: str,
    on_progress: Callable[[str], None] = lambda message: None,
) -> ConsumerPublication:
    """Publish the file of one consumer, once no other run writes.

    Raises:
        StoreError: as `publish_for`; or a learner of the published snapshot is waiting to be erased.
    """
    with WriteLock(settings, run_id=run_id, what="make publish-for", on_wait=on_progress):
        erasures = Erasures(settings)
        if waiting := erasures.at("asked", "unloaded", "unbuilt"):
            raise PublishError(
                f"{len(waiting)} learners who asked for erasure are in the published snapshot still. Run their sources "
                f"first ({', '.join(sorted({x.source for x in waiting}))}), then publish the file again"
            )
        return publish_for(
            settings,
            kind,
            wanted,
            key=erasures.key,
            identities=identity_files(contracts, settings),
            on_progress=on_progress,
        )
