"""How the loader recognises rows of erased learners, so that no load brings them back."""

import html
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dagster_project.base.keyed_hash import keyed_hash, keyed_hash_sql
from dagster_project.base.sql import literal
from dagster_project.contracts.source import Table
from dagster_project.ingest.identity import pseudonym_sql
from dagster_project.ingest.requests import Erasure, Erasures, tombstone
from dagster_project.settings import Settings

FIELD = re.compile(r"""[^,;|\t\r\n"{}\[\]<>]+""")
WORD = re.compile(r"[\w@+]+(?:[.'’-]+[\w@+]+)*")
QUOTED = re.compile(r"""(?=("(?:[^"\r\n]|""){1,200}"(?!")|'(?:[^'\r\n]|''){1,200}'(?!')))""")
GAP = re.compile(r"""[^\w\t\r\n"<>{}\[\]]{1,3}""")
"""What may stand between two words of one name or id: `Doe, Jane`, `J. Doe`, `a/b`."""
WORDS_IN_A_NAME = 5
LONGEST = 200
"""Characters of the longest id or identifier that is looked for."""
LITERAL_PREFIX = re.compile(r"[A-Za-z]{1,2}'(?=[\w@+])")
POSSESSIVE = re.compile(r"['’]s$")
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
WHOLE_NUMBER = re.compile(r"([-+]?\d+)(?:\.0*)?")
NAMED_ID = re.compile(
    r"""(?:(?:^|\W|_)(?:learner|student|person|pupil|user)(?:_?(?:id|key))?"""
    r"""|(?:^|\W)id_?(?:learner|student|person|pupil|user))['"]?\s*[=:]\s*$""",
    re.IGNORECASE,
)
ESCAPE = re.compile(
    r"""\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}"""
    r"""|(?:\\x[0-9a-fA-F]{2})+|(?:%[0-9a-fA-F]{2})+|\\[\\"'/nrtbf]"""
    r"""|&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});|''|"{2}"""
)
CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
NESTED_ESCAPES = 3
"""How often a text may be escaped: JSON in JSON, in a page, say."""
KNOWN_WORDS = 1_000_000
"""Words whose answer is kept in memory."""


class Span(NamedTuple):
    """A place in a text that is masked, and with what sign."""

    start: int
    end: int
    fill: str = "*"


@dataclass(frozen=True)
class Erased:
    """The erased learners of one source, as the loader recognises them in files."""

    source: str
    tombstones: frozenset[str]
    key: bytes
    identifiers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings, source: str) -> "Erased | None":
        """None when nobody of the source was erased."""
        erasures = Erasures(settings)
        found = erasures.at(source=source)
        return cls.among(found, source, erasures.key) if found else None

    @classmethod
    def among(cls, erasures: list[Erasure], source: str, key: bytes) -> "Erased":
        """Those of these requests."""
        identifiers = frozenset(hashed for erasure in erasures for hashed in erasure.identifiers)
        return cls(source, frozenset(erasure.tombstone for erasure in erasures), key, identifiers)

    def is_in(self, data: bytes) -> bool:
        """Whether an id or an identifier of one of them stands in a delivered row: a number may be an id."""
        return any(self.spans(text) for text in _decoded(data))

    def masked(self, data: bytes) -> bytes:
        """Delivered bytes with as many asterisks in the place of their ids and identifiers."""
        return mask_bytes(data, self.spans)

    def spans(self, text: str, *, numbers: bool = True) -> list[Span]:
        """Where ids and identifiers stand in a text, in order, disjoint.

        A name is found as a whole (`Doe, Jane`, `O'Brien`) between signs that are no part of words, written as it is
        or in escapes: of JSON, Python, HTML, URLs, doubled quotes of SQL and CSV.

        Args:
            numbers: whether a number that is a learner's id is always taken for it, as in a delivered row. Otherwise
                it must be marked as one: in quotes, after `<source>:`, or after a name as in `learner_id=`.
        """
        if len(text) > LONGEST:
            return self._spans(text, numbers)
        if (known := self._short_texts.get((text, numbers))) is None:
            if len(self._short_texts) >= KNOWN_WORDS:
                self._short_texts.clear()
            known = self._short_texts[text, numbers] = self._spans(text, numbers)
        return known

    def is_whole(self, text: str) -> bool:
        """Whether a text as a whole, but for blanks around it, is an id or an identifier."""
        return self._is_erased(text.strip())

    @cached_property
    def _short_texts(self) -> dict[tuple[str, bool], list[Span]]:
        """What a log tells in short texts it tells again and again."""
        return {}

    def _spans(self, text: str, numbers: bool) -> list[Span]:
        return _joined(
            (offsets[start], offsets[end])
            for view, offsets in _views(text)
            for start, end in self._spans_as_written(view, numbers)
        )

    def _spans_as_written(self, text: str, numbers: bool) -> Iterator[tuple[int, int]]:
        def is_theirs(start: int, end: int) -> bool:
            found = text[start:end]
            return self._is_erased(found) and (
                numbers or not NUMBER.fullmatch(found) or self._is_marked(text, start, end)
            )

        for quoted in QUOTED.finditer(text):
            start, end = quoted.start(1) + 1, quoted.end(1) - 1
            sign = quoted[1][0]
            if end - start <= LONGEST and self._is_erased(quoted[1][1:-1].replace(sign * 2, sign).strip()):
                yield start, end
        for field_ in FIELD.finditer(text):
            start, end = field_.span()
            stripped = field_[0].strip()
            begin = start + field_[0].find(stripped)
            if stripped and len(stripped) <= LONGEST and is_theirs(begin, begin + len(stripped)):
                yield start, end
        words = [found.span() for found in WORD.finditer(text)]
        for place, (start, _) in enumerate(words):
            starts = [start]
            if literal := LITERAL_PREFIX.match(text, start):  # b'…' of Python, E'…' of SQL
                starts.append(literal.end())
            for last in range(place, min(place + WORDS_IN_A_NAME, len(words))):
                if last > place and not GAP.fullmatch(text, words[last - 1][1], words[last][0]):
                    break
                end = words[last][1]
                if end - start > LONGEST:
                    break
                ends = [end]
                if possessive := POSSESSIVE.search(text, start, end):
                    ends.append(possessive.start())
                if text.startswith(".", end):  # of an abbreviation that belongs to the name
                    ends.append(end + 1)
                yield from ((s, e) for s in starts for e in ends if is_theirs(s, e))

    def _is_marked(self, text: str, start: int, end: int) -> bool:
        """Whether a number is given as somebody's id, and is no count."""
        before, after = text[max(start - 60, 0) : start], text[end : end + 1]
        if before and before[-1] in "\"'`" and after == before[-1]:
            return True
        if re.search(rf"(?<![\w.-]){re.escape(self.source)}:$", before):
            return True
        return NAMED_ID.search(before) is not None

    def records_sql(self, table: Table, relation: str) -> str:
        """Query of the `record`s of a landing file's relation that are rows of theirs."""
        ids = [
            pseudonym_sql(f"_text{index}") if column.pii else id_text(column.data_type, f"_text{index}")
            for index, column in enumerate(table.columns)
            if column in table.person_columns
        ]
        hashes = [keyed_hash_sql(f"{literal(self.source + ':')} || {text}") for text in ids]
        conditions = " or ".join(f"coalesce({text} in ({texts_sql(self.tombstones)}), false)" for text in hashes)
        return f"select _record as record from ({relation}) where {conditions or 'false'}"

    def _is_erased(self, word: str) -> bool:
        if (known := self._looked_up.get(word)) is None:
            if len(self._looked_up) >= KNOWN_WORDS:
                self._looked_up.clear()
            known = self._looked_up[word] = self._look_up(word)
        return known

    @cached_property
    def _looked_up(self) -> dict[str, bool]:
        """Words come again and again, and each costs three hashes."""
        return {}

    def _look_up(self, word: str) -> bool:
        try:
            word.encode()
        except UnicodeEncodeError:  # bytes that are no text
            return False
        forms = {word, unicodedata.normalize("NFC", word)}
        if number := WHOLE_NUMBER.fullmatch(word):  # 011391 and 11391.0 are 11391 where the contract says integer
            forms.add(str(int(number[1])) if len(word) < 40 else word)
        for form in forms:
            hashed = tombstone(f"{self.source}:{form}", self.key)
            if hashed in self.tombstones or hashed in self.identifiers:
                return True
            if tombstone(f"{self.source}:{keyed_hash(form, self.key)}", self.key) in self.tombstones:
                return True
        return tombstone(f"{self.source}:{usual_form(word)}", self.key) in self.identifiers


def mask_bytes(data: bytes, spans: Callable[[str], Iterable[Span]]) -> bytes:
    """The bytes with asterisks in the place of the spans that are found in their text; their number stays."""
    for encoding in _encodings(data):
        text = data.decode(encoding, "surrogateescape")
        data = mask_spans(text, spans(text), encoding).encode(encoding, "surrogateescape")
    return data


def mask_spans(text: str, spans: Iterable[Span], encoding: str = "utf-8") -> str:
    """A text with a sign for each byte of what stands at these places (in order, disjoint)."""
    parts, last = [], 0
    for start, end, fill in spans:
        parts += [text[last:start], fill * len(text[start:end].encode(encoding, "surrogateescape"))]
        last = end
    return "".join([*parts, text[last:]])


def usual_form(identifier: str) -> str:
    """A direct identifier in the form in which it is remembered: `ANN@example.org` is whose `ann@example.org` is."""
    return " ".join(unicodedata.normalize("NFC", identifier.casefold()).split())


def _encodings(data: bytes) -> tuple[str, ...]:
    """How bytes may be read: what is not UTF-8 throughout may be Latin-1, or UTF-8 with a broken sign."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return ("utf-8", "latin-1")
    return ("utf-8",)


def _decoded(data: bytes) -> list[str]:
    return [data.decode(encoding, "surrogateescape") for encoding in _encodings(data)]


def _views(text: str) -> Iterator[tuple[str, Sequence[int]]]:
    """A text as it is and without its escapes, with the place in the text of each sign and of the end."""
    offsets: Sequence[int] = range(len(text) + 1)
    yield text, offsets
    for _ in range(NESTED_ESCAPES):
        if not ESCAPE.search(text):
            return
        plain, places = _unescaped(text)
        if plain == text:
            return
        text, offsets = plain, [offsets[place] for place in places]
        yield text, offsets


def _unescaped(text: str) -> tuple[str, list[int]]:
    """A text without its escapes (once), and the place in it of each sign and of the end."""
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for found in ESCAPE.finditer(text):
        parts.append(text[last : found.start()])
        places.extend(range(last, found.start()))
        place = found.start()
        for sign, length in _signs(found[0]):
            parts.append(sign)
            places.extend([place] * len(sign))
            place += length
        last = found.end()
    parts.append(text[last:])
    places.extend(range(last, len(text) + 1))
    return "".join(parts), places


def _signs(escape: str) -> Iterator[tuple[str, int]]:
    """The signs that an escape stands for, each with the number of signs that it takes."""
    kind = escape[:2].lower()
    if kind == "\\u" and len(escape) == 12:
        yield json.loads(f'"{escape}"'), 12
    elif kind == "\\u":
        code = int(escape[2:], 16)
        yield (chr(code) if code <= sys.maxunicode else escape), len(escape)
    elif kind == "\\x" or escape[0] == "%":
        width = 4 if kind == "\\x" else 3
        data = bytes.fromhex(re.sub(r"\\x|%", "", escape))
        encoding = "latin-1" if len(_encodings(data)) > 1 else "utf-8"
        for sign in data.decode(encoding):
            yield sign, width * len(sign.encode(encoding))
    elif escape[0] == "\\":
        yield CONTROL.get(escape[1], escape[1]), 2
    else:
        yield (html.unescape(escape) if escape[0] == "&" else escape[0]), len(escape)


def _joined(places: Iterable[tuple[int, int]]) -> list[Span]:
    """Places in order, those that touch or overlap as one."""
    joined: list[Span] = []
    for start, end in sorted(places):
        if joined and start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(end, joined[-1].end))
        else:
            joined.append(Span(start, end))
    return joined


def id_text(data_type: str, text: str) -> str:
    """The id of a landing file's text as raw has it."""
    return text if data_type == "varchar" else f"cast(try_cast({text} as {data_type}) as varchar)"


def texts_sql(values: Iterable[str]) -> str:
    """Texts as a list of SQL, in order."""
    return ", ".join(literal(value) for value in sorted(values))
