"""Where the records of a text file begin and end, byte by byte, and which of them are not well formed.

The engine reads the rows; this module vouches for their number and keeps the bytes of those it cannot read, because
the engine cuts long lines, replaces invalid bytes and takes a swallowed half of a file for one row. A file passes
through in chunks. What is regular is recognised a chunk at a time; single records are looked at only where it is not.

A record ends at the file's line end (that of its first line: LF, CRLF or CR; LF and CRLF may mix) outside of quotes.
Empty lines are no records, except in files of one column. Records count from 1, the header line excluded.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dagster_project.base.errors import WarehouseError
from dagster_project.contracts.source import Dialect

CHUNK = 1 << 20
MAXIMUM_RECORD = 2_000_000
"""Longest record in bytes; the engine's own limit is the same."""
COUNTED_CHUNK = 1 << 16
"""Smallest chunk whose regularity counts of characters can prove; below it chance could deceive."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BrokenFile(WarehouseError):
    """A file that cannot be read as a whole; the message says why and where."""


@dataclass(frozen=True)
class Header:
    """`names` as written in the file (None without header line), `fields` per record, `start` of the first record."""

    names: tuple[str, ...] | None
    fields: int
    start: int
    line_end: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """`count` records in a row: `first` is the number of the first, `data` their bytes including line ends.

    A run with a `problem` (plain words) is one record. `plain` runs have one line per record.
    """

    first: int
    count: int
    data: bytes
    plain: bool = True
    problem: str | None = None


@dataclass
class Scan:
    """What a pass over a file found: number of records, numbers of the malformed ones, and whether it is `uneven`.

    The engine would stumble over something in an uneven file, and needs a cleaned copy.
    """

    records: int = 0
    malformed: array = field(default_factory=lambda: array("q"))
    uneven: bool = False


class Splitter:
    """Splits the files of one dialect.

    Args:
        dialect: how the file is written.
        header: its first line, from `read_header`.
        shape: a pattern that a line of this table matches when it is a record of its own; a quoted field of several
            such lines is then taken for a lost quote, not for text. None when lines cannot be told from text.
    """

    def __init__(self, dialect: Dialect, header: Header, shape: re.Pattern[bytes] | None = None):
        self.dialect = dialect
        self.header = header
        self.shape = shape
        self._grammar = _Grammar(dialect, header.line_end)
        self._regular = self._grammar.regular(header.fields)

    def scan(self, path: Path) -> Scan:
        """Counts records and finds the malformed ones.

        Raises:
            BrokenFile: the quoting breaks, the file ends within a record, or its encoding is wrong throughout.
        """
        found = Scan(uneven=self.header.names is None and self.header.start > 0)
        endings: set[bool] = set()
        undecodable = not_ascii = 0
        for run in self.runs(path):
            found.records += run.count
            if run.problem is not None:
                found.malformed.append(run.first)
                found.uneven = True
                undecodable += run.problem is NOT_UTF8
            if not run.data.isascii():
                not_ascii += run.count
            if self.header.line_end != b"\r":
                carriage_returns = run.data.count(b"\r") if run.plain else int(run.data.endswith(b"\r\n"))
                ended = run.data.endswith(b"\n")
                if carriage_returns == run.count:
                    endings.add(True)
                elif carriage_returns == 0:
                    endings.update([False] if ended else [])
                else:
                    endings.update((True, False))
        if self.header.line_end and endings - {self.header.line_end == b"\r\n"}:
            found.uneven = True
        check_encoding(found.records, undecodable, not_ascii)
        return found

    def clean(self, path: Path, copy: Path) -> None:
        """Writes a copy without header, one kind of line end, and a filler in the place of every malformed record.

        The n-th row of the copy is the n-th record of the file.
        """
        line_end = b"\r" if self.header.line_end == b"\r" else b"\r\n"
        filler = self.dialect.delimiter.encode().join([b"x"] * self.header.fields) + b"\n"
        with copy.open("wb") as out:
            for run in self.runs(path):
                if run.problem is not None:
                    out.write(filler)
                elif run.plain:
                    data = run.data.replace(line_end, b"\n")
                    out.write(data if data.endswith(b"\n") else data + b"\n")
                else:
                    out.write(run.data.rstrip(b"\r\n") + b"\n")

    def fetch(self, path: Path, wanted: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bytes]]:
        """Number, problem and exact bytes of every malformed record and of the `wanted` ones, in the file's order.

        Args:
            wanted: (number, problem) of well-formed records, ascending.
        """
        following = next(wanted, None)
        for run in self.runs(path):
            if run.problem is not None:
                yield run.first, run.problem, run.data
                continue
            if following is None or following[0] >= run.first + run.count:
                continue
            lines = self._lines(run) if run.count > 1 else [run.data]
            while following is not None and following[0] < run.first + run.count:
                number, problem = following
                yield number, problem, lines[number - run.first]
                following = next(wanted, None)

    def _lines(self, run: Run) -> list[bytes]:
        newline = self._grammar.newline
        lines = [line + newline for line in run.data.split(newline)]
        if run.data.endswith(newline):
            return lines[:-1]
        lines[-1] = lines[-1][: -len(newline)]
        return lines

    def runs(self, path: Path) -> Iterator[Run]:
        """All records of the file, in order, as runs that are as long as they are regular."""
        with path.open("rb") as stream:
            stream.seek(self.header.start)
            yield from self._runs(stream)

    def _runs(self, stream: BinaryIO) -> Iterator[Run]:
        grammar, newline = self._grammar, self._grammar.newline
        first, line, buffer, at_end = 1, 1 + (self.header.names is not None), b"", False
        while not at_end:
            more = stream.read(CHUNK)
            at_end = not more
            buffer += more
            end = len(buffer) if at_end else buffer.rfind(newline) + 1
            position = 0
            is_short = end <= MAXIMUM_RECORD  # so no record can be too long
            if is_short and end >= COUNTED_CHUNK and (count := self._regular_lines(buffer[:end])):
                yield Run(first, count, buffer[:end])
                first, line, position = first + count, line + count, end
            is_simple = is_short and (position == end or is_utf8(buffer[:end]))
            while position < end:
                if is_simple:
                    regular = self._regular.match(buffer, position, end)
                    stop = regular.end() if regular else position
                    if stop > position:
                        data = buffer[position:stop]
                        count = data.count(newline)
                        yield Run(first, count, data)
                        first, line, position = first + count, line + count, stop
                        continue
                record = grammar.parse(buffer, position, at_end)
                if record is None:  # it goes on in the next chunk
                    break
                data = buffer[position : record.end]
                position = record.end
                lines = data.count(newline)
                if record.is_blank and self.header.fields > 1:
                    line += lines
                    continue
                yield Run(first, 1, data, lines <= 1, self._problem(record, data, first, line))
                first, line = first + 1, line + lines
            buffer = buffer[position:]
            if len(buffer) > 2 * MAXIMUM_RECORD:
                raise BrokenFile(
                    f"record {first:,} (line {line:,}) is longer than {MAXIMUM_RECORD:,} bytes, as when a quote that "
                    "opens there is never closed; put the quote right and deliver the file again"
                )

    def _regular_lines(self, data: bytes) -> int:
        """Number of lines, when counts alone show that each is a record of the right number of fields; else 0.

        Every line has its share of delimiters and of quotes (none, or two for as many fields in every line) and none is
        broken: for a defect to hide, another in the same chunk must undo each of its counts, and the engine's own count
        of rows must still agree.
        """
        import numpy as np  # a command that only looks at headers does without it

        grammar, characters = self._grammar, np.frombuffer(data, dtype=np.uint8)
        lines = np.count_nonzero(characters == grammar.newline[0])
        if np.count_nonzero(characters == ord(self.dialect.delimiter)) != lines * (self.header.fields - 1):
            return 0
        if grammar.newline == b"\n":
            carriage_returns = data.count(b"\r") if self.header.line_end == b"\r\n" else int(b"\r" in data)
            if carriage_returns != (lines if self.header.line_end == b"\r\n" else 0):
                return 0
        if self.dialect.quote and self.dialect.quote.encode() in data:
            quotes = np.count_nonzero(characters == ord(self.dialect.quote))
            if quotes % (2 * lines) or quotes // (2 * lines) > self.header.fields:
                return 0
            if self.dialect.escape not in (self.dialect.quote, "") and self.dialect.escape.encode() in data:
                return 0
        return int(lines) if is_utf8(data) else 0

    def _problem(self, record: "_Record", data: bytes, number: int, line: int) -> str | None:
        fields, expected = len(record.spans), self.header.fields
        where = f"record {number:,} (line {line:,})"
        if record.is_open:
            raise BrokenFile(
                f"a quote that opens in {where} is never closed, up to the end of the file; the file is cut off there "
                "or a quote is missing: put it right and deliver the file again"
            )
        if not record.is_terminated and fields < expected:
            raise BrokenFile(
                f"the file ends within {where}: {fields} of {expected} fields and no line end, so it is cut off; "
                "deliver the whole file"
            )
        lines = data.removesuffix(self._grammar.newline).split(self._grammar.newline)
        swallowed = self.shape is not None and all(self.shape.fullmatch(text.rstrip(b"\r")) for text in lines)
        if len(lines) > 1 and (record.is_stray or fields != expected or swallowed or len(data) > MAXIMUM_RECORD):
            raise BrokenFile(
                f"the quoting breaks at {where}: a quoted field that opens there runs over {len(lines):,} lines and is "
                "not closed as it should; put the quotes right and deliver the file again"
            )
        if not is_utf8(data):
            return NOT_UTF8
        if len(data) > MAXIMUM_RECORD:
            return f"longer than {MAXIMUM_RECORD:,} bytes"
        if fields != expected:
            return f"{fields} fields, expected {expected}"
        if record.is_stray:
            return "a quote or line break inside a field that is not quoted, or text after a closing quote"
        return None

    def records(self, path: Path) -> Iterator[bytes]:
        """The exact bytes of every record of the file, in order."""
        for run in self.runs(path):
            yield from self._lines(run) if run.count > 1 else [run.data]

    def records_of(self, stream: BinaryIO) -> Iterator[bytes]:
        """The same of a stream that stands at the first record."""
        for run in self._runs(stream):
            yield from self._lines(run) if run.count > 1 else [run.data]

    def fields(self, data: bytes) -> list[bytes]:
        """The fields of one record, without their quotes."""
        return [data[start:end] for start, end in self._grammar.whole(data).spans]

    def mask(self, data: bytes, positions: frozenset[int]) -> bytes:
        """The bytes of one record with `***` for the fields at these positions (all, when it is malformed)."""
        record = self._grammar.whole(data)
        sound = len(record.spans) == self.header.fields and not (record.is_stray or record.is_open)
        masked, last = b"", 0
        for position, (start, end) in enumerate(record.spans):
            hide = position in positions or not sound
            masked += data[last:start] + (b"***" if hide else data[start:end])
            last = end
        return masked + (data[last:] if sound or record.is_terminated else b"")


NOT_UTF8 = "not valid UTF-8"
UNENDED = "the first line does not end: a quote in it is never closed, or this is not a text file"
KINDS = {
    b"PK": "but an Excel workbook or another zip: save the sheet as CSV (UTF-8) and deliver that",
    b"\xd0\xcf\x11\xe0": "but an Excel workbook: save the sheet as CSV (UTF-8) and deliver that",
    b"\x1f\x8b": "but gzip: give it a name that ends in .gz",
    b"\x28\xb5\x2f\xfd": "but zstandard: give it a name that ends in .zst",
    b"PAR1": "but Parquet: give it a name that ends in .parquet",
}
"""What files that are not text begin with, and what to do with them."""


def read_header(path: Path, dialect: Dialect) -> Header:
    """The first line of a text file.

    Raises:
        BrokenFile: the file is empty, is not UTF-8 text, or has no first line of a sensible length.
    """
    with path.open("rb") as stream:
        head = stream.read(MAXIMUM_RECORD)
    header = header_of(head, dialect, is_whole=len(head) < MAXIMUM_RECORD)
    if header is None:
        raise BrokenFile(UNENDED)
    return header


def is_blank(path: Path) -> bool:
    """Whether a file holds nothing, or blanks only."""
    return path.stat().st_size < CHUNK and not path.read_bytes().removeprefix(BYTE_ORDER_MARK).strip()


def header_of(head: bytes, dialect: Dialect, *, is_whole: bool) -> Header | None:
    """The first line of the text that begins with `head`; None where it goes on beyond that.

    Args:
        is_whole: whether `head` is all of the file.

    Raises:
        BrokenFile: as `read_header`.
    """
    start = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    check_is_text(head)
    if not head[start:].strip():
        if not is_whole:
            return None
        raise BrokenFile("the file is empty")
    line = re.search(rb"\r\n|\n|\r", head)
    line_end = line.group() if line else b""
    record = _Grammar(dialect, line_end or b"\n").parse(head, start, is_whole)
    if record is None:
        return None
    if record.is_open:
        raise BrokenFile(UNENDED)
    if not dialect.header:
        return Header(None, len(record.spans), start, line_end)
    try:
        names = [head[begin:end].decode() for begin, end in record.spans]
    except UnicodeDecodeError:
        raise BrokenFile(
            "the header line is not UTF-8; expected UTF-8: convert the file and deliver it again"
        ) from None
    if dialect.quote:
        doubled = (dialect.escape or dialect.quote) + dialect.quote
        names = [name.replace(doubled, dialect.quote) for name in names]
    return Header(tuple(name.strip() for name in names), len(names), record.end, line_end)


def check_encoding(records: int, undecodable: int, not_ascii: int) -> None:
    """Raises `BrokenFile` where so many records are not UTF-8 that the whole file must be in another encoding.

    Args:
        records, undecodable, not_ascii: records of the file, those that are not UTF-8, those that are not ASCII.
    """
    if undecodable > 1 and undecodable > records / 10 and undecodable > not_ascii / 2:
        raise BrokenFile(
            f"{undecodable:,} of {records:,} records are not UTF-8, so the file is written in another encoding "
            "(Latin-1?); expected UTF-8: convert it (iconv -f LATIN1 -t UTF-8) and deliver it again, or name the "
            "table's `encoding` in the contract"
        )


def check_is_text(head: bytes) -> None:
    """Raises `BrokenFile` where a file that begins with `head` is not text in UTF-8, and says what it may be."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:1000]:
        raise BrokenFile(f"the file is not UTF-8 text {_kind_of(head)}")


def _kind_of(head: bytes) -> str:
    """What a file that is no UTF-8 text is, by its first bytes, and what to do."""
    for beginning, kind in KINDS.items():
        if head.startswith(beginning):
            return kind
    sample = head[:200]
    every_other = max(sample[::2].count(0), sample[1::2].count(0))
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or every_other > len(sample) / 4:
        return "but UTF-16: export it as CSV (UTF-8), or convert it (iconv -f UTF-16 -t UTF-8), and deliver it again"
    return "(UTF-16, or not a text at all); expected UTF-8: convert and deliver it again"


def is_utf8(data: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    if data.isascii():  # which is told ten times as fast
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(slots=True)
class _Record:
    """One record in a buffer: its `end`, and the `spans` of its fields without their quotes."""

    spans: list[tuple[int, int]]
    end: int
    is_terminated: bool
    has_quotes: bool = False
    is_stray: bool = False
    is_open: bool = False

    @property
    def is_blank(self) -> bool:
        return len(self.spans) == 1 and not self.has_quotes and self.spans[0][0] == self.spans[0][1]


class _Grammar:
    """The regular expressions of one dialect."""

    def __init__(self, dialect: Dialect, line_end: bytes):
        self.newline = b"\r" if line_end == b"\r" else b"\n"
        self.delimiter = dialect.delimiter.encode()
        self.quote = dialect.quote.encode()
        self.escape = (dialect.escape or dialect.quote).encode()
        self._unquoted_end = re.compile(b"[" + re.escape(self.delimiter) + self.newline + b"]")
        self._quoted = re.compile(self._quoted_pattern(b""), re.DOTALL) if self.quote else None

    def _quoted_pattern(self, excluded: bytes) -> bytes:
        """A quoted field that does not contain the `excluded` characters.

        Only single characters are repeated possessively: before Python 3.11.5 a possessive group matched wrongly
        (python/cpython#106052).
        """
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        if self.escape == self.quote:
            inner = rb"[^%b%b]*+" % (quote, excluded)
            return rb"%b%b(?:%b%b)*%b(?!%b)" % (quote, inner, quote * 2, inner, quote, quote)
        inner = rb"[^%b%b%b]*+" % (quote, escape, excluded)
        escaped = escape + (rb"[^%b]" % excluded if excluded else rb".")
        return quote + inner + rb"(?:" + escaped + inner + rb")*" + quote

    def regular(self, fields: int) -> re.Pattern[bytes]:
        """Any number of well-formed records of one line each."""
        delimiter, quote = re.escape(self.delimiter), re.escape(self.quote)
        one = rb"[^%b%b\r\n]*+" % (quote, delimiter)
        if self.quote:
            one = rb"(?:" + self._quoted_pattern(rb"\r\n") + rb"|" + one + rb")"
        record = one + (rb"(?:%b%b){%d}" % (delimiter, one, fields - 1) if fields > 1 else b"")
        line_end = rb"\r" if self.newline == b"\r" else rb"\r?\n"
        return re.compile(rb"(?:" + record + line_end + rb")*")

    def whole(self, data: bytes) -> _Record:
        """The one record that these bytes are."""
        record = self.parse(data, 0, True)
        assert record is not None  # nothing comes behind them that it could go on into
        return record

    def parse(self, buffer: bytes, start: int, at_end: bool) -> _Record | None:
        """The record that begins at `start`; None when it may go on beyond the buffer (never with `at_end`)."""
        record = _Record([], start, False)
        position = start
        while True:
            begin = position
            if self._quoted and buffer.startswith(self.quote, position):
                record.has_quotes = True
                quoted = self._quoted.match(buffer, position)
                if quoted is None or (quoted.end() == len(buffer) and not at_end):
                    if not at_end:
                        return None
                    record.spans.append((position + 1, len(buffer)))
                    record.end, record.is_open = len(buffer), True
                    return record
                begin, position = position + 1, quoted.end()
                span_end = position - 1
            else:
                span_end = None
            stop = self._unquoted_end.search(buffer, position)
            if stop is None and not at_end:
                return None
            rest_end = stop.start() if stop else len(buffer)
            ends_line = stop is not None and stop.group() == self.newline
            if ends_line and self.newline == b"\n" and buffer[rest_end - 1 : rest_end] == b"\r" and rest_end > position:
                rest_end -= 1
            rest = buffer[position:rest_end]
            if span_end is not None and rest:
                record.is_stray, span_end = True, rest_end
            elif span_end is None:
                span_end = rest_end
                if (self.quote and self.quote in rest) or b"\r" in rest or b"\n" in rest:
                    record.is_stray = True
                    record.has_quotes |= bool(self.quote) and self.quote in rest
            record.spans.append((begin, span_end))
            if stop is None or ends_line:
                record.end = stop.end() if stop else len(buffer)
                record.is_terminated = ends_line
                return record
            position = stop.end()
