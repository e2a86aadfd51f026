"""Erasure from request to receipt: what loading, building and publishing each remove.

A request goes through four stages. Each is one call by name where it happens, and can be done again after a kill:

    asked       `request.ask`: the tombstone is written, so that no load brings the learner back
    unloaded    `ingest.erasure.unload`, before a raw table is loaded: their rows are gone from raw, their identifiers
                from the identity store, both from quarantine. Nothing is loaded of a source before that
    unbuilt     `unbuild`, before dbt builds: their rows are gone from the build database and the append-only files,
                the examples of what suites found are empty
    finished    `finish`, after the publication: a snapshot without them is published, every earlier one is gone, what
                is told of runs is masked, and the receipt is written

`identity/erased.json` holds the requests (`ingest/requests.py`), learners by keyed hashes alone.
"""

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dagster_project.base import clock
from dagster_project.base.files import replaced
from dagster_project.ingest.recognition import Erased
from dagster_project.ingest.requests import Erasure, Erasures
from dagster_project.privacy.erasure.history import mask_records
from dagster_project.privacy.publish_for import remove_consumers_files
from dagster_project.settings import Settings
from dagster_project.store.erasure import (
    ErasedLearners,
    compact_build_database,
    remove_earlier_snapshots,
    remove_learners,
)
from dagster_project.store.findings import forget_rows


def receipt_path(settings: Settings, erasure: Erasure) -> Path:
    """Where the receipt of a request lies once it is finished."""
    return settings.artifacts_dir / "receipts" / f"{erasure.receipt}.json"


def erased_learners(settings: Settings) -> ErasedLearners | None:
    """Everybody whose erasure was asked for and whom raw no longer holds; None: nobody."""
    erasures = Erasures(settings)
    found = [x.tombstone for x in erasures.at("unloaded", "unbuilt", "finished")]
    return ErasedLearners(found, erasures.key) if found else None


def unbuild(settings: Settings) -> None:
    """Remove the learners who are gone from raw from what was built of it. Call it before anything is built anew."""
    erasures = Erasures(settings)
    for erasure in erasures.at("unloaded"):
        # Changes of earlier days, which no run makes anew.
        if (changes := settings.call_lists_dir / "changes").exists():
            shutil.rmtree(changes)
        # Their key may be among the examples of what was checked before.
        forget_rows(settings, datetime.fromisoformat(erasure.unloaded_at) if erasure.unloaded_at else datetime.max)
        removed = remove_learners(settings, ErasedLearners([erasure.tombstone], erasures.key))
        erasures.save(replace(erasure, stage="unbuilt", removed=erasure.removed | removed))


def finish(settings: Settings, snapshot_id: str) -> list[Path]:
    """After the publication of a snapshot: remove the earlier ones, and write the receipts of who is now erased.

    The files of single consumers and call lists with names go too: they are made anew by who wants them.
    """
    erasures = Erasures(settings)
    waiting = erasures.at("unbuilt")
    if not waiting:
        return []
    consumers = remove_consumers_files(settings)
    if settings.named_call_lists_dir.exists():
        shutil.rmtree(settings.named_call_lists_dir)
    earlier = remove_earlier_snapshots(settings, snapshot_id)
    compact_build_database(settings)
    receipts = []
    for erasure in waiting:
        masked = mask_records(settings, Erased.among([erasure], erasure.source, erasures.key))
        erasure = replace(erasure, removed=erasure.removed | masked)
        now = clock.now().isoformat(timespec="seconds")
        done = replace(
            erasure,
            stage="finished",
            finished_at=now,
            snapshot=snapshot_id,
            removed_snapshots=earlier,
            removed_consumers=tuple(dict.fromkeys((*erasure.removed_consumers, *consumers))),
        )
        receipts.append(_write_receipt(settings, done))
        erasures.save(done)
    return receipts


def _write_receipt(settings: Settings, erasure: Erasure) -> Path:
    path = receipt_path(settings, erasure)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {
        "receipt": erasure.receipt,
        "source": erasure.source,
        "asked_at": erasure.asked_at,
        "finished_at": erasure.finished_at,
        "rows_removed": dict(sorted(erasure.removed.items())),
        "published_without_the_learner": erasure.snapshot,
        "earlier_snapshots_removed": erasure.removed_snapshots,
        "files_of_consumers_removed": list(erasure.removed_consumers),
        "landing_files_rewritten": list(erasure.rewritten),
        "landing_files_left_to_the_operator": [name for name in erasure.landing if name not in erasure.rewritten],
        "landing_files_not_searched_or_not_cleaned": erasure.troubled,
        "models": "Risk models of the source that were trained before are trained again by the first run that may "
        "train; item banks hold figures of questions only.",
    }
    with replaced(path, synced=True) as incoming:
        incoming.write_text(json.dumps(text, indent=1) + "\n")
    return path
