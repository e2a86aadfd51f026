"""Pseudonyms, and the store of direct identifiers.

A pseudonym is the keyed hash HMAC-SHA256(key, value) of the value's UTF-8 text, the first 128 bits in hexadecimal. The
same value has the same pseudonym in every table and source, so that rows can be joined; without the key it cannot be
recomputed. A landing file may hold `pseudonym:<32 hexadecimal digits>` in the place of an id: a call list, which knows
pseudonyms only, notes contacts so. Direct identifiers lie in Parquet files under the identity folder, keyed by
pseudonym, and nowhere else.
"""

import secrets
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.base.keyed_hash import LENGTH, keyed_hash, keyed_hash_sql
from dagster_project.settings import Settings

GIVEN = "pseudonym:"
"""What a value begins with that is a pseudonym and not an id of the source."""


def as_given(pseudonym: str) -> str:
    """A pseudonym as a landing file may hold it in the place of an id."""
    return f"{GIVEN}{pseudonym}"


def pseudonym_sql(text: str) -> str:
    """SQL of the pseudonym of a value of a landing file, a varchar expression; the connection has the key."""
    given = f"regexp_full_match({text}, '{GIVEN}[0-9a-f]{{{LENGTH}}}')"
    return f"case when {given} then right({text}, {LENGTH}) else {keyed_hash_sql(text)} end"


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
    owner_only(settings.identity_dir, settings.identity_dir)
    path = settings.generated_key_file
    if not path.exists():
        with replaced(path, mode=0o600, synced=True) as incoming:
            incoming.write_text(secrets.token_hex(32))
    return path.read_text().strip().encode()


def key_fingerprint(key: bytes) -> str:
    """Tells one key from another without giving it away: part of what a loaded file is recognised by."""
    return keyed_hash("fingerprint of the key", key)
