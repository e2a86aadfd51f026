"""Files and folders: replaced as a whole, on the disk for certain, or emptied."""

import ctypes
import hashlib
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

INCOMING = ".incoming"
"""Ending of a file as long as it is not whole. What a kill leaves goes when the same file is written the next time."""
_LIBRARY = ctypes.CDLL(None, use_errno=True)


@contextmanager
def replaced(path: Path, *, mode: int | None = None, synced: bool = False, ending: str = INCOMING) -> Generator[Path]:
    """Replace a file as a whole: who reads `path` finds the earlier content or the new one, also after a kill.

    Args:
        mode: permissions of the new file; as long as it is not whole only its owner may read it. None: those of the
            file that it replaces, or what the process gives to any new file.
        synced: the new content is on the disk, and then its name, before this is left: for what something else relies
            on after a power failure, such as a ledger or a receipt.
        ending: of the hidden file beside `path`.

    Yields:
        The hidden file, for the block to write. When the block fails it goes, and `path` stays as it was.
    """
    incoming = path.with_name(f".{path.name}{ending}")
    incoming.unlink(missing_ok=True)
    try:
        if mode is not None:
            os.close(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield incoming
        if mode is None and path.exists():
            mode = path.stat().st_mode & 0o7777
        if mode is not None:
            incoming.chmod(mode)
        if synced:
            sync(incoming)
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
    if synced:
        sync(path.parent)


def on_disk(folder: Path) -> None:
    """Waits until all that was written to the file system of a folder is on the disk.

    A power failure must not leave a ledger that knows of rows which never got there. One call for the hundreds of files
    of a load costs as much as three of `fsync`; where the system has no such call, every file system is waited for.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if hasattr(_LIBRARY, "syncfs"):
            if _LIBRARY.syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        else:
            os.sync()
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def empty_folder(folder: Path) -> None:
    """Remove what lies in a folder of temporary files, as far as that is permitted."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def content_hash(root: Path, parts: Sequence[str], *words: str) -> str:
    """One hash of the files under some parts of a folder (names and bytes) and of further words; hidden files left out.

    Args:
        parts: files or folders in `root`; one that is not there counts as empty.
    """
    digest = hashlib.sha256("\0".join(words).encode())
    for part in parts:
        path = root / part
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            name = file.relative_to(root)
            if file.is_file() and not any(x.startswith(".") or x == "__pycache__" for x in name.parts):
                digest.update(f"\0{name.as_posix()}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
