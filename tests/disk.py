"""What reaches the disk, and in which order."""

import os
from pathlib import Path


def note_what_reaches_the_disk(monkeypatch) -> list[tuple[str, str]]:
    """(what happened, name of the file or folder), in order."""
    done = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        done.append(("on disk", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        sync(descriptor)

    def note_replace(source, target) -> None:
        done.append(("in place", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    return done
