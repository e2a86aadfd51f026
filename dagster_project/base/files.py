"""Files and folders: on the disk for certain, or emptied."""

import ctypes
import os
import shutil
from pathlib import Path

_LIBRARY = ctypes.CDLL(None, use_errno=True)


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
