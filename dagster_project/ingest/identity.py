"""Pseudonyms, and the store of direct identifiers.

A pseudonym is the keyed hash HMAC-SHA256(key, value) of the value's UTF-8 text, the first 128 bits in hexadecimal. The
same value has the same pseudonym in every table and source, so that rows can be joined; without the key it cannot be
recomputed. Direct identifiers lie in Parquet files under the identity folder, keyed by pseudonym, and nowhere else.
"""

import os
import secrets
from pathlib import Path

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.settings import Settings


def owner_only(folder: Path, root: Path) -> Path:
    """Makes `folder`; it and every folder above it up to `root` can be entered by their owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.parents):
        path.chmod(0o700)
        if path == root:
            break
    return folder


def read_key(settings: Settings) -> bytes:
    """The key of the pseudonyms: from the settings or, in a demo, from `pseudonym.key`, which is made once.

    Losing that file changes every pseudonym, and all personal tables are then loaded again.
    """
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key.get_secret_value().encode()
    if settings.environment == "production":  # settings refuse this; never let a generated key slip in
        raise ValueError("in production the pseudonym key comes from the settings, and there is none")
    path = owner_only(settings.identity_dir, settings.identity_dir) / "pseudonym.key"
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        made.replace(path)
    return path.read_text().strip().encode()


def key_fingerprint(key: bytes) -> str:
    """Tells one key from another without giving it away: part of what a loaded file is recognised by."""
    return keyed_hash("fingerprint of the key", key)


def write_owner_only(path: Path, text: str) -> None:
    """Replaces a file as a whole, readable by its owner only; it is on the disk when this returns.

    Of what was erased nothing else is known: a power failure must leave the earlier file or the new one, whole.
    """
    incoming = path.with_suffix(".incoming")
    incoming.unlink(missing_ok=True)
    with os.fdopen(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    put_on_disk(incoming, path)


def put_on_disk(incoming: Path, path: Path) -> None:
    """Moves a file, whose content is on the disk, to its place, and waits until that is on the disk, too."""
    incoming.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
