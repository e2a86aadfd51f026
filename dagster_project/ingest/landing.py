"""The files that a table finds in a landing place, and their content on disk.

A landing place is a folder, a zip, or a folder that holds zips. A file's *logical name* is its path relative to the
folder, or its path inside the zip, without `.gz` or `.zst`: a zip, its unpacked folder and packed files are the same
delivery.

Two hashes identify content. The *content hash* is the SHA-256 of the uncompressed bytes, taken while they are
extracted. The *stored hash* is the SHA-256 of the bytes as they are stored (of a zip member: its compressed bytes),
which needs no decompression: a second run recognises an unchanged file by it. If only the wrapping changed, the content
hash still agrees.
"""

import hashlib
import json
import lzma
import os
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from dagster_project.base.errors import WarehouseError
from dagster_project.contracts.source import Table
from dagster_project.ingest.packing import Packing, Stream, packing_of, unpacked, unpacked_name
from dagster_project.ingest.records import BrokenFile
from dagster_project.settings import Settings

SETTLED_SECONDS = 45
"""Between two looks of the sensor that find the same files; less than its interval, which is not kept to the second."""


CHUNK = 1 << 20
DAMAGES = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
"""What unpacking raises where the content is cut off, damaged or of an unknown kind; gzip and bz2 raise OSError."""
FREE_DISK_RESERVE = 256 << 20
"""Bytes that an extraction leaves free on the disk."""
RATIO_MATTERS_FROM = 100 << 20
"""Extracted bytes from which on the compression ratio is looked at: a small file does no harm, however it is packed."""
MAXIMUM_MEMBERS = 10_000
"""Files in one zip; each of them costs a look at the directory of all."""
SHOWN_FILES = 20
"""Files of a landing place that an error names."""
OUTSIDE_LINK = (
    "it is a link that leads out of the landing place: who may deliver files could have any file of this machine read; "
    "deliver the file itself, or name the folder where it lies as landing place"
)
OUTSIDE_NAME = "its name points outside of the zip"
TWICE = "the zip holds two files of this name, and one would hide the other; deliver each under a name of its own"


class LandingError(WarehouseError):
    """A landing place from which a table cannot be loaded; the message says what was looked for and what was found."""


@dataclass(frozen=True)
class LandingFile:
    """One file of a delivery: a file of its own (`member` None) or a member of the zip `container`."""

    name: str
    container: Path
    member: str | None = None
    defect: str | None = None

    @property
    def packing(self) -> Packing | None:
        """How it is compressed, by its name; None: not at all."""
        return packing_of(self.member or self.container.name)

    @property
    def format(self) -> Literal["csv", "parquet"]:
        """By the name of the file, or of the member of its archive."""
        return "parquet" if self.name.endswith(".parquet") else "csv"

    @property
    def key(self) -> str:
        """Short stable hash of the logical name; the name of the file's Parquet in raw."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]

    def stored_hash(self) -> str:
        """SHA-256 of the stored bytes, as hexadecimal text; nothing is decompressed."""
        digest = hashlib.sha256()
        if self.defect == OUTSIDE_LINK:
            digest.update(os.fsencode(self.container.readlink()))
            return digest.hexdigest()
        with self.container.open("rb") as stream:
            remaining = None
            if self.member is not None:
                info = _member(self.container, self.member)
                digest.update(f"{info.compress_type} {info.CRC} {info.file_size} ".encode())
                stream.seek(info.header_offset)
                local = stream.read(30)
                stream.seek(
                    int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), os.SEEK_CUR
                )
                remaining = info.compress_size
            while chunk := stream.read(CHUNK if remaining is None else min(CHUNK, remaining)):
                digest.update(chunk)
                remaining = None if remaining is None else remaining - len(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class Content:
    """Uncompressed content on disk.

    `path` carries nothing of the landing file's name, which an engine could take for a pattern; `is_copy` tells an
    extracted file from a link to the landing file.
    """

    path: Path
    content_hash: str
    size: int
    is_copy: bool


def default_patterns(table: str, is_json: bool = False) -> tuple[str, ...]:
    """`<table>.csv`, `<table>-*.csv`, `<table>/*.csv` and the same for Parquet; of JSON with its endings."""
    endings = ("jsonl", "ndjson", "json", "log", "parquet") if is_json else ("csv", "parquet")
    return tuple(f"{stem}.{ending}" for stem in (table, f"{table}-*", f"{table}/*") for ending in endings)


def patterns_of(table: Table) -> tuple[str, ...]:
    """The glob patterns of a table's files."""
    return table.files or default_patterns(table.name, is_json=table.form.json is not None)


def find_files(table: Table, landing: Path, settings: Settings) -> list[LandingFile]:
    """The files of a table, by logical name. A zip that cannot be opened comes as a file with a `defect`.

    Patterns hold in every sub-folder too. Hidden files and what macOS adds to zips are passed over.

    Raises:
        LandingError: there is no such landing place, or two different files have the same logical name.
    """
    found: dict[str, LandingFile] = {}
    for file in of_table(table, all_files(landing)):
        other = found.setdefault(file.name, file)
        if other is not file and _content_hash(other, settings) != _content_hash(file, settings):
            raise LandingError(
                f"{landing}: {_place(other)} and {_place(file)} are both {file.name!r}, with different content; "
                "a later file of that name replaces the earlier one, so give them different names or folders"
            )
    return [found[name] for name in sorted(found)]


def of_table(table: Table, files: Iterable[LandingFile]) -> Iterator[LandingFile]:
    """Those files that are the table's by name, and zips that cannot be opened, which may hold some."""
    pattern = re.compile("|".join(_pattern(glob) for glob in patterns_of(table)), re.DOTALL)
    for file in files:
        is_zip = file.member is None and file.container.name.lower().endswith(".zip")
        if (file.defect and is_zip) or pattern.fullmatch(file.name):
            yield file


def is_missing(table: Table, files: Collection[LandingFile], known: Collection[object]) -> bool:
    """Whether a table cannot be loaded for want of files.

    None lie there, none were loaded before (`known`), and the contract does not say that it may be absent.
    """
    return not files and not known and not table.optional


def files_named(name: str, landing: Path) -> list[LandingFile]:
    """The files of one name, in whatever folder or zip of the landing place; those with a defect are left out."""
    found = [file for file in all_files(landing) if PurePosixPath(file.member or file.container.name).name == name]
    return [file for file in found if not file.defect]


def describe_missing(table: Table, landing: Path) -> str:
    """What was looked for and what lies in the landing place instead, for an error."""
    names = [file.name for file in all_files(landing)]
    return f"looked for {described_patterns(table)}; found {described_names(names)}"


def described_patterns(table: Table | None) -> str:
    """By which names files are the table's (None: any table's that says nothing of it), for an error."""
    patterns = default_patterns("<table>") if table is None else patterns_of(table)
    return f"{', '.join(patterns)} (plain, .gz, .zst or in a .zip, in any folder)"


def described_names(names: Collection[str]) -> str:
    """What lies in a landing place, for an error."""
    more = f" and {len(names) - SHOWN_FILES:,} more" if len(names) > SHOWN_FILES else ""
    return ", ".join(sorted(names)[:SHOWN_FILES]) + more if names else "no files at all"


@contextmanager
def content_of(file: LandingFile, folder: Path, settings: Settings) -> Generator[Content]:
    """The uncompressed content of a file, as a path inside `folder`; an extracted copy is gone afterwards.

    Raises:
        BrokenFile: truncated, corrupt, encrypted, a link to elsewhere, or larger unpacked than the settings permit.
        LandingError: the disk is too full to extract it.
    """
    if file.defect:
        raise BrokenFile(file.defect)
    path = folder / f"content.{file.format}"
    try:
        if file.member is None and not file.packing:
            with file.container.open("rb") as stream:
                content_hash, size = _copy(stream, None)
            path.symlink_to(file.container.resolve())
            yield Content(path, content_hash, size, is_copy=False)
        else:
            content_hash, size = _extract(file, path, settings)
            yield Content(path, content_hash, size, is_copy=True)
    finally:
        path.unlink(missing_ok=True)


def head_of(
    file: LandingFile, size: int, settings: Settings, archive: zipfile.ZipFile | None = None
) -> tuple[bytes, bool]:
    """The first bytes of a file's uncompressed content, and whether these are all of it.

    Args:
        archive: the container, where it is open already: to open one of many members takes a while.

    Raises:
        BrokenFile: as `content_of`, as far as the first bytes tell.
    """
    if file.defect:
        raise BrokenFile(file.defect)
    if file.member is None and not file.packing:
        with file.container.open("rb") as stream:
            head = stream.read(size)
    else:
        with _unpacking(), _opened(file, settings, archive) as (stream, _, _):
            head = stream.read(size)
    return head, len(head) < size


# --- finding


def all_files(landing: Path) -> Iterator[LandingFile]:
    """Every file of a landing place, in its folders and zips.

    Raises:
        LandingError: there is no such landing place.
    """
    if landing.is_file():
        if landing.suffix.lower() != ".zip":
            raise LandingError(f"{landing}: expected a folder or a .zip as landing place, found a file of another kind")
        yield from _members(landing, landing.name)
    elif landing.is_dir():
        for folder, folders, names in os.walk(landing):
            folders[:] = sorted(name for name in folders if not _is_ignored(name))
            for name in sorted(names):
                path = Path(folder, name)
                relative = _readable(path.relative_to(landing).as_posix())
                if _is_ignored(name) or not path.is_file():
                    continue
                is_outside = path.is_symlink() and not path.resolve().is_relative_to(landing.resolve())
                defect = OUTSIDE_LINK if is_outside else None
                if name.lower().endswith(".zip") and not defect:
                    yield from _members(path, relative)
                else:
                    yield LandingFile(unpacked_name(relative), path, defect=defect)
    else:
        raise LandingError(f"{landing}: no such landing place; expected a folder with files, or a .zip")


def _members(container: Path, relative: str) -> Iterator[LandingFile]:
    try:
        with zipfile.ZipFile(container) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        if any(info.header_offset < 0 for info in infos):
            raise zipfile.BadZipFile("its directory points before its beginning")
        members = Counter(info.filename for info in infos)
        if len(infos) > MAXIMUM_MEMBERS:
            raise zipfile.BadZipFile(
                f"it holds {len(infos):,} files, more than {MAXIMUM_MEMBERS:,}: unpack or split it"
            )
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        reason = f"the zip cannot be opened ({error}); if it is cut off or damaged, deliver it again"
        yield LandingFile(relative, container, defect=reason)
        return
    for member, count in members.items():
        if not any(_is_ignored(part) for part in member.split("/") if part != ".."):
            parts = PurePosixPath(member.replace("\\", "/"))
            defect = OUTSIDE_NAME if parts.is_absolute() or ".." in parts.parts else TWICE if count > 1 else None
            yield LandingFile(unpacked_name(member), container, member, defect)


def _readable(name: str) -> str:
    """A file's name as text: what in it is not UTF-8 is written as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _pattern(glob: str) -> str:
    """Regular expression of a glob: `*` and `?` stay within one folder, `**/` is any number of folders."""
    translated = ""
    for part in re.split(r"(\*\*/|\*|\?)", glob):
        translated += {"**/": r"(?:.*/)?", "*": r"[^/]*", "?": r"[^/]"}.get(part, re.escape(part))
    return r"(?:.*/)?" + translated


def _place(file: LandingFile) -> str:
    return _readable(str(file.container)) + (f" ({file.member})" if file.member is not None else "")


# --- reading


def _member(container: Path, member: str) -> zipfile.ZipInfo:
    with zipfile.ZipFile(container) as archive:
        return archive.getinfo(member)


@contextmanager
def _unpacking() -> Generator[None]:
    """Turns what unpacking finds in a damaged file into `BrokenFile`; a fault of the machine is no such thing."""
    try:
        yield
    except (*DAMAGES, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's; what gzip and bz2 find in a file has no number
        raise BrokenFile(f"it cannot be decompressed ({error}): cut off or damaged; deliver it again") from error


@contextmanager
def _opened(
    file: LandingFile, settings: Settings, archive: zipfile.ZipFile | None = None
) -> Generator[tuple[Stream, int, int | None]]:
    """Stream of the uncompressed bytes, stored size, and the uncompressed size where it is declared."""
    if file.member is None:
        assert file.packing  # plain files are opened as they are
        with unpacked(file.container, file.packing) as stream:
            yield stream, file.container.stat().st_size, None
        return
    with nullcontext(archive) if archive else zipfile.ZipFile(file.container) as archive:
        info = archive.getinfo(file.member)
        everything = sum(info.file_size for info in archive.infolist())
        check_ratio("the whole zip", everything, file.container.stat().st_size, settings)
        if info.flag_bits & 1:
            raise BrokenFile("it is encrypted; deliver it without a password")
        with archive.open(info) as stream:
            if file.packing:
                with unpacked(stream, file.packing) as inner:
                    yield inner, info.compress_size, None
            else:
                yield stream, info.compress_size, info.file_size


def _extract(file: LandingFile, path: Path, settings: Settings) -> tuple[str, int]:
    with _unpacking(), _opened(file, settings) as (stream, stored, declared):
        limit = settings.maximum_file_bytes
        _check_room(file, declared or 0, stored, limit, settings)
        if declared is not None:
            _check_free_disk(file, path.parent, declared)
        with path.open("wb") as out:

            def watch(size: int) -> None:
                _check_room(file, size, stored, limit, settings)
                if declared is None and size % (64 * CHUNK) < CHUNK:
                    _check_free_disk(file, path.parent, 64 * CHUNK)

            return _copy(stream, out, watch)


def _copy(stream: Stream, out: IO[bytes] | None, watch=lambda size: None) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        watch(size)
        digest.update(chunk)
        if out is not None:
            out.write(chunk)
    return digest.hexdigest(), size


def _content_hash(file: LandingFile, settings: Settings) -> str:
    if file.defect:
        return file.stored_hash()
    if file.member is None and not file.packing:
        return file.stored_hash()
    try:
        with _opened(file, settings) as (stream, stored, _):
            watch = partial(_check_room, file, stored=stored, limit=settings.maximum_file_bytes, settings=settings)
            return _copy(stream, None, watch)[0]
    except (*DAMAGES, BrokenFile, OSError):
        return f"unreadable {file.container} {file.member}"


def _check_room(file: LandingFile, size: int, stored: int, limit: int, settings: Settings) -> None:
    if size > limit:
        raise BrokenFile(
            f"unpacked it is larger than {limit:,} bytes, the setting maximum_file_bytes; split it, or raise the limit"
        )
    check_ratio("it", size, stored, settings)


def check_ratio(what: str, size: int, stored: int, settings: Settings) -> None:
    """Refuses what would be far larger unpacked (bytes, or of Parquet values) than it is packed.

    Raises:
        BrokenFile: it is large, and larger than the setting `maximum_compression_ratio` permits.
    """
    ratio = settings.maximum_compression_ratio
    if size > RATIO_MATTERS_FROM and size > ratio * max(stored, 1):
        raise BrokenFile(
            f"unpacked {what} is more than {ratio} times as large as packed ({stored:,} bytes), as in a zip bomb; if "
            "it is sound, deliver it unpacked or raise the setting maximum_compression_ratio"
        )


def _check_free_disk(file: LandingFile, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + FREE_DISK_RESERVE:
        raise LandingError(
            f"{_place(file)}: {size:,} bytes are needed to extract it and {free:,} are free in {folder}; "
            "free some disk space or set another home"
        )


def landing_state(landing: Path) -> str | None:
    """What lies at a landing place (names, sizes, times) as one hash; None where there is nothing."""
    if not landing.exists():
        return None
    files = [landing] if landing.is_file() else sorted(path for path in landing.rglob("*") if path.is_file())
    facts = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32] if facts else None
