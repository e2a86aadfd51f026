"""Files in another encoding than UTF-8, and the way back to their exact bytes.

A byte that the encoding does not know becomes half of a surrogate pair, written as UTF-8 would write it if it could:
that is no valid UTF-8, so its record is refused, and the byte can be told from it.
"""

import codecs
from pathlib import Path

CHUNK = 1 << 20
UTF_8 = "utf-8"


def to_utf8(data: bytes, encoding: str) -> bytes:
    """The bytes of a text in `encoding` as UTF-8."""
    return data if encoding == UTF_8 else data.decode(encoding, "surrogateescape").encode(UTF_8, "surrogatepass")


def from_utf8(data: bytes, encoding: str) -> bytes:
    """The bytes in `encoding` of what `to_utf8` returned, or of a record of it."""
    return data if encoding == UTF_8 else data.decode(UTF_8, "surrogatepass").encode(encoding, "surrogateescape")


def write_as_utf8(path: Path, encoding: str, copy: Path) -> None:
    """Writes a file of text in `encoding` as UTF-8, in pieces."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    with path.open("rb") as original, copy.open("wb") as out:
        while chunk := original.read(CHUNK):
            out.write(decoder.decode(chunk).encode(UTF_8, "surrogatepass"))
        out.write(decoder.decode(b"", final=True).encode(UTF_8, "surrogatepass"))
