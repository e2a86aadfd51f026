"""Erasure from request to receipt: what loading, building and publishing each remove, in the order of its stages."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.ingest.contract import Contract
from dagster_project.ingest.erasure import (
    Erased,
    Erasure,
    ErasureError,
    Erasures,
    note_landing_files,
    request_erasure,
    write_owner_only,
)
from dagster_project.ingest.sources import SourceError, find_source
from dagster_project.report.data_docs import remove_older
from dagster_project.settings import Settings
from dagster_project.store.database import identifier
from dagster_project.store.erasure import (
    ErasedLearners,
    compact_build_database,
    remove_earlier_snapshots,
    remove_learners,
)
from dagster_project.store.publish_for import remove_consumers_files

DATABASES = (".db", ".sqlite")
SECONDS_FOR_A_LOCK = 60


def receipt_path(settings: Settings, erasure: Erasure) -> Path:
    """Where the receipt of a request lies once it is finished."""
    return settings.artifacts_dir / "receipts" / f"{erasure.receipt}.json"


def erased_learners(settings: Settings) -> ErasedLearners | None:
    """Everybody whose erasure was asked for and whom raw no longer holds; None: nobody."""
    erasures = Erasures(settings)
    found = [x.tombstone for x in erasures.at("unloaded", "unbuilt", "finished")]
    return ErasedLearners(found, erasures.key) if found else None


def request_file(settings: Settings) -> Path:
    """Where the job `erase_learner` finds whom to erase: what a run is told, Dagster keeps, and this it must not."""
    return settings.identity_dir / "erase.txt"


def take_requests(settings: Settings, contracts: Mapping[str, Contract]) -> tuple[list[Erasure], list[str]]:
    """Note the erasures that `request_file` asks for; the next run of their sources carries them out.

    A line is the name of a source, a blank, and the learner's id as the source's files write it, or his key in
    core.dim_learner. Lines that were noted are gone from the file, and with the last one the file. Call it while
    holding the `WriteLock`.

    Args:
        contracts: by name.

    Returns:
        The requests, and what is wrong with the lines that are left; it names no learner.
    """
    path = request_file(settings)
    lines = path.read_text().splitlines() if path.exists() else []
    noted, wrong, left = [], [], []
    for number, line in enumerate(lines, start=1):
        name, _, learner = line.strip().partition(" ")
        if not name:
            continue
        try:
            source = find_source(settings, name)
            who = "learner_key" if learner.startswith(f"{name}:") else "learner_id"
            erasure = request_erasure(settings, contracts[source.contract], name, **{who: learner.strip()})
            if who == "learner_id":
                contract = contracts[source.contract]
                erasure = note_landing_files(contract, name, source.landing, learner.strip(), erasure, settings)
            noted.append(erasure)
        except (ErasureError, SourceError) as error:
            wrong.append(f"line {number}: {error}")
            left.append(line)
    if left:
        write_owner_only(path, "\n".join(left) + "\n")
    else:
        path.unlink(missing_ok=True)
    return noted, wrong


def unbuild(settings: Settings) -> None:
    """Remove the learners who are gone from raw from what was built of it. Call it before anything is built anew."""
    erasures = Erasures(settings)
    for erasure in erasures.at("unloaded"):
        # His key may be among the examples of what was checked before.
        remove_older(settings, datetime.fromisoformat(erasure.unloaded_at) if erasure.unloaded_at else datetime.max)
        removed = remove_learners(settings, ErasedLearners([erasure.tombstone], erasures.key))
        erasures.save(replace(erasure, stage="unbuilt", removed=erasure.removed | removed))


def finish(settings: Settings, snapshot_id: str) -> list[Path]:
    """After the publication of a snapshot: remove the earlier ones, and write the receipts of who is now erased.

    The files of single consumers go too: they are made anew by who publishes them.
    """
    erasures = Erasures(settings)
    waiting = erasures.at("unbuilt")
    if not waiting:
        return []
    consumers = remove_consumers_files(settings)
    earlier = remove_earlier_snapshots(settings, snapshot_id)
    compact_build_database(settings)
    receipts = []
    for erasure in waiting:
        masked = mask_records(settings, Erased.among([erasure], erasure.source, erasures.key))
        erasure = replace(erasure, removed=erasure.removed | masked)
        now = datetime.now(UTC).isoformat(timespec="seconds")
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


def mask_records(settings: Settings, erased: Erased) -> dict[str, int]:
    """Put asterisks for the learners' ids, pseudonyms and identifiers into what is told of runs.

    That is Dagster's history (examples of checks, settings of runs), its logs, and the pages and files of artifacts,
    Data Docs among them. Files keep their length, so that a run that writes to one goes on.

    Returns:
        Texts that were masked, by place.
    """
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")
    masked: dict[str, int] = {}
    for folder in (dagster_home, settings.artifacts_dir):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or path.suffix in (".parquet", ".duckdb", ".incoming"):
                continue
            if path.suffix in DATABASES:
                count = _mask_database(path, erased)
            elif path.name.endswith(("-wal", "-shm", "-journal")):
                continue
            else:
                count = _mask_file(path, erased)
            if count:
                place = f"texts of {folder.name}"
                masked[place] = masked.get(place, 0) + count
    return masked


def _mask_file(path: Path, erased: Erased) -> int:
    data = path.read_bytes()
    if not erased.is_in(data):
        return 0
    with path.open("r+b") as file:
        file.write(erased.masked(data))
    return 1


def _mask_database(path: Path, erased: Erased) -> int:
    with closing(sqlite3.connect(path, timeout=SECONDS_FOR_A_LOCK)) as connection:
        connection.execute("pragma secure_delete = on")  # what was there is overwritten, not left on free pages
        changed = list(_masked_rows(connection, erased))
        with connection:
            for table, row, columns, values in changed:
                settings_of_columns = ", ".join(f"{identifier(column)} = ?" for column in columns)
                connection.execute(
                    f"update {identifier(table)} set {settings_of_columns} where rowid = ?",
                    [*values, row],
                )
        if changed:
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    return len(changed)


def _masked_rows(
    connection: sqlite3.Connection, erased: Erased
) -> Iterator[tuple[str, int, list[str], list[str | bytes]]]:
    """(table, rowid, columns, new values) of the rows that have to change."""
    for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"pragma table_info({identifier(table)})")]
        listed = ", ".join(map(identifier, columns))
        for row, *values in connection.execute(f"select rowid, {listed} from {identifier(table)}"):
            new = {
                column: _masked(value, erased)
                for column, value in zip(columns, values, strict=True)
                if isinstance(value, str | bytes) and erased.is_in(value.encode() if isinstance(value, str) else value)
            }
            if new:
                yield table, row, list(new), list(new.values())


def _masked(value: str | bytes, erased: Erased) -> str | bytes:
    return erased.masked(value) if isinstance(value, bytes) else erased.masked(value.encode()).decode()


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
        "models": "Risk models of the source that were trained before are trained again by the first run that may "
        "train; item banks hold figures of questions only.",
    }
    incoming = path.with_suffix(".incoming")
    incoming.write_text(json.dumps(text, indent=1) + "\n")
    incoming.replace(path)
    return path
