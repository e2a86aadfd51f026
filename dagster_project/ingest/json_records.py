"""Where the records of a JSON file begin and end, byte by byte, and what is wrong with those that are not JSON.

Of JSON lines every line is a record but empty ones, of an array every element. The engine reads what is regular from
the file itself, otherwise from a clean copy with one line a record; this module vouches for the number of records and
keeps the bytes of those that are refused. Records count from 1.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dagster_project.contracts.forms import LONGEST_RECORD, JsonForm
from dagster_project.contracts.json_paths import Path as JsonPath
from dagster_project.ingest.records import (
    BYTE_ORDER_MARK,
    CHUNK,
    NOT_UTF8,
    BrokenFile,
    Run,
    Scan,
    check_encoding,
    check_is_text,
    is_utf8,
)

FILLER = b"x\n"
"""Line of a clean copy in the place of a record that the engine is not shown."""
UNSEEN = bytes.maketrans(b"\0\1\n\r", b"\2\2  ")
"""Signs that the engine would take for ends of lines or fields. Within JSON, only line breaks are permitted."""
UNFINISHED = 16
"""Characters before the end of what was read in which an error may mean that more is to come."""
DECODER = json.JSONDecoder()


class JsonLines:
    """Splits files with a record in each line."""

    def __init__(self, form: JsonForm):
        self.form = form

    def scan(self, path: Path) -> Scan:
        """Counts the records; `malformed` are those that the engine is not shown.

        Raises:
            BrokenFile: this is no text, most of it is in another encoding, or a line has no end in sight.
        """
        found, undecodable, not_ascii = Scan(uneven=self.form.is_array), 0, 0
        for run in self.runs(path):
            found.records += run.count
            found.uneven |= not run.plain
            if run.problem is not None:
                found.malformed.append(run.first)
                undecodable += run.problem is NOT_UTF8
            if not run.data.isascii():
                not_ascii += run.count
        check_encoding(found.records, undecodable, not_ascii)
        return found

    def clean(self, path: Path, copy: Path) -> None:
        """Writes a copy with one line a record, without empty lines; a filler stands for what the engine must not see.

        The n-th line of the copy is the n-th record of the file.
        """
        with copy.open("wb") as out:
            for run in self.runs(path):
                if run.problem is not None:
                    out.write(FILLER)
                elif run.plain:
                    out.write(run.data if run.data.endswith(b"\n") else run.data + b"\n")
                elif run.count:
                    out.write(run.data.rstrip(b"\r\n").translate(UNSEEN) + b"\n")

    def fetch(self, path: Path, wanted: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bytes]]:
        """Number, problem and exact bytes of the wanted records, in the file's order.

        Args:
            wanted: (number, reason), ascending; without a reason it is told what keeps the record from being JSON.
        """
        following = next(wanted, None)
        for run in self.runs(path):
            if following is None:
                return
            if following[0] >= run.first + run.count:
                continue
            lines = _lines(run.data) if run.count > 1 else [run.data]
            while following is not None and following[0] < run.first + run.count:
                number, reason = following
                data = lines[number - run.first]
                yield number, run.problem or reason or self.why_not_json(data), data
                following = next(wanted, None)

    def around(self, path: Path) -> tuple[bytes, bytes, bytes]:
        """What stands before the first record of a file, between two and after the last one."""
        with path.open("rb") as stream:
            has_mark = stream.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK
        return BYTE_ORDER_MARK if has_mark else b"", b"", b""

    def records(self, path: Path) -> Iterator[bytes]:
        """The exact bytes of every record of the file, in order."""
        for run in self.runs(path):
            yield from _lines(run.data) if run.count != 1 else [run.data]

    def runs(self, path: Path) -> Iterator[Run]:
        """All records of the file, in order; a run that is not `plain` is one record."""
        with path.open("rb") as stream:
            yield from self.runs_of(stream)

    def runs_of(self, stream: BinaryIO) -> Iterator[Run]:
        """The same of a stream."""
        first, buffer, is_start, at_end = 1, b"", True, False
        while not at_end:
            more = stream.read(CHUNK)
            at_end = not more
            buffer += more
            if is_start:
                check_is_text(buffer)
                is_start = False
                if buffer.startswith(BYTE_ORDER_MARK):
                    buffer = buffer.removeprefix(BYTE_ORDER_MARK)
                    yield Run(first, 0, b"", plain=False)
            end = len(buffer) if at_end else buffer.rfind(b"\n") + 1
            if end == 0:
                if len(buffer) > LONGEST_RECORD:
                    raise BrokenFile(
                        f"record {first:,} is longer than {LONGEST_RECORD:,} bytes; expected a JSON object in each line"
                    )
                continue
            block, buffer = buffer[:end], buffer[end:]
            for run in self._runs(block, first):
                yield run
                first = run.first + run.count

    def _runs(self, block: bytes, first: int) -> Iterator[Run]:
        if self._is_regular(block):
            yield Run(first, block.count(b"\n") + (not block.endswith(b"\n")), block)
            return
        position = 0
        for start, end in self._irregular(block):
            if start > position:
                data = block[position:start]
                yield Run(first, data.count(b"\n"), data)
                first += data.count(b"\n")
            line, position = block[start:end], end
            content = line.rstrip(b"\r\n")
            if content:
                yield Run(first, 1, line, plain=False, problem=self._problem(content))
                first += 1
            else:  # an empty line is no record, but the engine must not see it either
                yield Run(first, 0, b"", plain=False)
        if position < len(block):
            data = block[position:]
            yield Run(first, data.count(b"\n") + (not data.endswith(b"\n")), data)

    def _irregular(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of the lines of a block that the engine would not see as they are, in order."""
        if len(block) > self.form.max_record_bytes:
            start = 0
            for line in _lines(block):
                if len(line) == 1 or not self._is_regular(line):
                    yield start, start + len(line)
                start += len(line)
            return
        position, following = 0, dict.fromkeys((b"\r", b"\0", b"\1", b"\n\n"), -1)
        while position < len(block):
            if block.startswith(b"\n", position):
                yield position, position + 1
                position += 1
                continue
            for piece, place in list(following.items()):
                if place < position:
                    place = block.find(piece, position)
                    if place < 0:
                        del following[piece]
                    else:
                        following[piece] = place
            places = [place for place in (*following.values(), _not_utf8(block, position)) if place >= 0]
            if not places:
                return
            sign = min(places) + block.startswith(b"\n\n", min(places))
            start = block.rfind(b"\n", position, sign) + 1 or position
            position = block.find(b"\n", sign) + 1 or len(block)
            yield start, position

    def _is_regular(self, block: bytes) -> bool:
        """Whether the engine sees the same records in whole lines."""
        return (
            len(block) <= self.form.max_record_bytes
            and not block.startswith(b"\n")
            and not any(piece in block for piece in (b"\n\n", b"\r", b"\0", b"\1"))
            and is_utf8(block)
        )

    def _problem(self, content: bytes) -> str | None:
        if len(content) > self.form.max_record_bytes:
            return f"longer than {self.form.max_record_bytes:,} bytes"
        if not is_utf8(content):
            return NOT_UTF8
        if b"\r" in content:  # the engine is shown a blank for it, which a text may hold
            try:
                json.loads(self.cut(content) or b"")
            except (ValueError, RecursionError):
                return self.why_not_json(content)
        return None

    def cut(self, data: bytes) -> bytes | None:
        """A line without what precedes its record; None where it has none."""
        if self.form.record_from is None:
            return data
        start = data.find(self.form.record_from.encode())
        return None if start < 0 else data[start:]

    def why_not_json(self, data: bytes) -> str:
        """What keeps a line from being one JSON object, without any of its words."""
        record = self.cut(data)
        if record is None:
            return f"no {self.form.record_from} in the line, from which a record goes"
        text = record.decode(errors="replace").strip()
        try:
            value, end = DECODER.raw_decode(text)
        except json.JSONDecodeError as error:
            if error.pos >= len(text) or error.msg.startswith("Unterminated"):
                return "cut off: the record ends before it is closed"
            return f"not JSON: {error.msg} (character {error.pos + 1:,} of the record)"
        except (RecursionError, ValueError):  # deeper than Python reads, or a number of thousands of digits
            return "not JSON that can be read"
        if end < len(text):
            return "something follows the record, such as another one, in its line"
        if not isinstance(value, dict):
            return "not a JSON object"
        if has_no_number(text):
            return "not JSON: NaN or Infinity, which JSON does not know"
        return "not JSON that can be read, such as half of a character in an escape"


class JsonArray(JsonLines):
    """Splits files that are one array of records, or an object with such an array at a path of `unwrap`."""

    def runs(self, path: Path) -> Iterator[Run]:
        """Every record of the file as a run of its own.

        Raises:
            BrokenFile: the file is no such array, or breaks off.
        """
        with path.open("rb") as stream:
            yield from self.runs_of(stream)

    def around(self, path: Path) -> tuple[bytes, bytes, bytes]:
        """What stands up to the first element of the array, between two and from the end of the last one on."""
        with path.open("rb") as stream:
            elements = _Elements(stream, self.form)
            for _ in elements.elements():
                pass
            stream.seek(0)
            before = stream.read(elements.first)
            stream.seek(elements.offset + elements.position)
            return before, b",\n", stream.read()

    def runs_of(self, stream: BinaryIO) -> Iterator[Run]:
        """The same of a stream."""
        for number, data in enumerate(_Elements(stream, self.form).elements(), start=1):
            yield Run(number, 1, data, plain=False, problem=self._problem(data))


class _Elements:
    """The elements of an array in a stream, one at a time in memory.

    Bytes are read as Latin-1, a character each: what structures JSON is ASCII, and places in the text are places in
    the file.
    """

    def __init__(self, stream: BinaryIO, form: JsonForm):
        self.stream, self.form = stream, form
        self.text, self.position, self.offset, self.at_end = "", 0, 0, False
        self.first = 0  # byte behind the opening bracket

    def elements(self) -> Iterator[bytes]:
        self._read()
        check_is_text(self.text.encode("latin-1"))
        if self.text.startswith("\xef\xbb\xbf"):
            self.position = 3
        paths: list[JsonPath] = list(self.form.unwrap) if self._next() == "{" else [()]
        if not self._enter(paths):
            raise BrokenFile(
                "the file is no array of records"
                + (" and has none at a path of `unwrap`" if self.form.unwrap else "")
                + "; expected [ at its beginning, or an object with such a list"
            )
        self.first = self.offset + self.position
        if self._next() == "]":
            return
        number = 1
        while True:
            start = self._value(f"record {number:,}")
            yield self.text[start : self.position].encode("latin-1")
            sign = self._next()
            if sign == "]":
                return
            if sign != ",":
                raise BrokenFile(
                    f"after record {number:,} (byte {self.offset + self.position + 1:,}) stands neither , nor ]; the "
                    "file is cut off or damaged there: deliver it again"
                )
            self.position += 1
            number += 1

    def _enter(self, paths: list[JsonPath]) -> bool:
        """Goes into the array at one of these paths of the value that begins here; False: there is none."""
        sign = self._next()
        if sign == "[" and () in paths:
            self.position += 1
            return True
        if sign != "{":
            return False
        self.position += 1
        while self._next() == '"':
            start = self._value("a key")
            key = json.loads(self.text[start : self.position].encode("latin-1").decode(errors="replace"))
            if self._next() != ":":
                return False
            self.position += 1
            below = [path[1:] for path in paths if path[:1] == (key,)]
            if below and self._next() in "[{":
                return self._enter(below)
            self._value("what precedes the records")
            if self._next() == ",":
                self.position += 1
        return False

    def _next(self) -> str:
        """The sign at the next place that is no blank; empty at the end of the file."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in " \t\r\n":
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if self.at_end:
                return ""
            self._read()

    def _value(self, what: str) -> int:
        """Goes beyond the value that begins here; returns where it begins in the text."""
        self._next()
        while True:
            start = self.position
            try:
                _, end = DECODER.raw_decode(self.text, start)
                if end < len(self.text) or self.at_end:  # a number may go on
                    self.position = end
                    return start
            except RecursionError:
                raise BrokenFile(f"{what} (byte {self.offset + start + 1:,}) is nested too deep to be read") from None
            except ValueError as error:
                message, place = getattr(error, "msg", "a number that is too long"), getattr(error, "pos", start)
                is_wrong = place < len(self.text) - UNFINISHED and not message.startswith("Unterminated")
                if self.at_end or is_wrong or len(self.text) - start > LONGEST_RECORD:
                    raise BrokenFile(
                        f"{what} (byte {self.offset + start + 1:,} of the file) cannot be read as JSON: {message} "
                        f"(byte {self.offset + place + 1:,}); the file is cut off or damaged there: deliver it again"
                    ) from None
            self._read()

    def _read(self) -> None:
        more = self.stream.read(max(CHUNK, len(self.text) - self.position))
        self.at_end = not more
        self.offset += self.position
        self.text, self.position = self.text[self.position :] + more.decode("latin-1"), 0


def splitter_of(form: JsonForm) -> JsonLines:
    """What splits the files of a form."""
    return JsonArray(form) if form.is_array else JsonLines(form)


def has_no_number(text: str) -> bool:
    """Whether JSON text holds NaN or an infinity, which Python reads and JSON does not know."""
    found: list[Any] = []
    json.loads(text, parse_constant=found.append)
    return bool(found)


def _not_utf8(block: bytes, start: int) -> int:
    """Where the first byte from `start` on is that is no UTF-8; -1: nowhere."""
    try:
        block[start:].decode()
    except UnicodeDecodeError as error:
        return start + error.start
    return -1


def _lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
