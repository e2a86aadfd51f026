"""Which landing files are made up: what stands in the manifest that a simulation leaves beside its files.

The manifest `simulated.json` is an object whose `files` has the SHA-256 of each simulated file's bytes by its name. By
the bytes of what was loaded it is known whether a source is simulated: no manifest names a file of a real delivery,
wherever it lies, and simulated ones stay so when the landing place is gone or they come under another name.
"""

import json
import re
import zipfile
from pathlib import Path

from dagster_project.ingest.landing import files_named
from dagster_project.ingest.ledger import Ledger
from dagster_project.settings import Settings

MANIFEST = "simulated.json"
LARGEST_MANIFEST = 16 << 20
"""Bytes from which on a file of that name is no manifest: one of ten years by day has one."""
_HASH = re.compile(r"[0-9a-f]{64}")


def note_simulated(place: Path, settings: Settings) -> None:
    """Remember what the manifests of a landing place name. Any other file of that name is passed over."""
    hashes = {
        content
        for file in (files_named(MANIFEST, place) if place.exists() else ())
        for content in _hashes(file.container, file.member)
    }
    if hashes:
        Ledger(settings).note_simulated(hashes)


def _hashes(container: Path, member: str | None) -> set[str]:
    try:
        if member is None:
            stated = json.loads(container.read_bytes()) if container.stat().st_size <= LARGEST_MANIFEST else None
        else:
            with zipfile.ZipFile(container) as archive:
                size = archive.getinfo(member).file_size
                stated = json.loads(archive.read(member)) if size <= LARGEST_MANIFEST else None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return set()
    files = stated.get("files") if isinstance(stated, dict) else None
    values = files.values() if isinstance(files, dict) else ()
    return {value for value in values if isinstance(value, str) and _HASH.fullmatch(value)}
