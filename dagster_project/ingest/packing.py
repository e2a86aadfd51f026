"""How single files are packed: gzip or zstandard, by the endings of their names."""

import gzip
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

Packing = Literal["gzip", "zstd"]
Stream = gzip.GzipFile | IO[bytes]
ENDINGS: dict[str, Packing] = {".gz": "gzip", ".zst": "zstd"}


def packing_of(name: str) -> Packing | None:
    """How a file of this name is packed; None: not at all."""
    return next((packing for ending, packing in ENDINGS.items() if name.endswith(ending)), None)


def unpacked_name(name: str) -> str:
    """The name without the ending of a packing."""
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


@contextmanager
def unpacked(file: Path | IO[bytes], packing: Packing) -> Generator[Stream]:
    """The uncompressed bytes of a file, or of a stream that stays open.

    Raises:
        OSError: on reading, without a number of the system's: cut off or damaged; of gzip EOFError or zlib.error too.
    """
    if packing == "gzip":
        with gzip.open(file) as stream:
            yield stream
        return
    import pyarrow as pa  # only where something is packed so: the standard library of Python 3.11 cannot read it

    if isinstance(file, Path):
        with file.open("rb") as stream, unpacked(stream, packing) as content:
            yield content
        return
    yield pa.CompressedInputStream(pa.PythonFile(file, "r"), packing)


@contextmanager
def packed(path: Path, packing: Packing | None) -> Generator[Stream]:
    """A new file that is written packed."""
    if packing == "gzip":
        with gzip.open(path, "wb") as out:
            yield out
    elif packing == "zstd":
        import pyarrow as pa

        with pa.CompressedOutputStream(str(path), packing) as out:
            yield out
    else:
        with path.open("wb") as out:
            yield out
