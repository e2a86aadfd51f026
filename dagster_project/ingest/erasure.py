"""Learners who are to be forgotten, and their removal from what the loader keeps.

A request goes through stages, each of which can be done again after a kill:

    asked       the tombstone is written: no load brings the learner back
    unloaded    his rows are gone from raw, his identifiers from the identity store, both from quarantine
    unbuilt     his rows are gone from the build database and the append-only files (`dagster_project.erasure`)
    finished    a snapshot without him is published, and every earlier one is gone

`identity/erased.json` holds the requests. A learner is known there by keyed hashes alone: his *tombstone* is that of
`<source>:<id in raw>`, the key that the warehouse's tables have for him; those of his direct identifiers tell a
malformed row that is his.
"""

import gzip
import html
import json
import mmap
import os
import re
import secrets
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import duckdb

from dagster_project.base.keyed_hash import keyed_hash, keyed_hash_sql, set_key
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import identity, landing, quarantine, sql
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.records import BrokenFile, Splitter, read_header
from dagster_project.settings import PREFIX, Settings

Stage = Literal["asked", "unloaded", "unbuilt", "finished"]
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
OUR_COPIES = ".erasing"
"""Ending of the hidden copies that stand beside a landing file while it is replaced."""


class Span(NamedTuple):
    """A place in a text that is masked, and with what sign."""

    start: int
    end: int
    fill: str = "*"


class ErasureError(ValueError):
    """A learner who cannot be erased; the message says what was looked for and what to do."""


@dataclass(frozen=True)
class Erasure:
    """One request, and what was done about it.

    Attributes:
        receipt: a random name, under which the receipt is kept.
        removed: rows by place ("raw.events", "identity.learners", "core.fct_submission", …).
        identifiers: keyed hashes of his direct identifiers.
        landing: landing files in which the learner was found when he asked.
        rewritten: those of them from which he was removed.
        troubled: landing files that could not be searched or cleaned, with the reason.
        unloaded_at: when raw was free of him; what was trained before knew him.
        removed_consumers: whose own files (`make publish-for`) were removed, and are to be made anew.
    """

    receipt: str
    source: str
    tombstone: str
    asked_at: str
    stage: Stage = "asked"
    removed: dict[str, int] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    landing: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    troubled: dict[str, str] = field(default_factory=dict)
    unloaded_at: str | None = None
    finished_at: str | None = None
    snapshot: str | None = None
    removed_snapshots: int = 0
    removed_consumers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Erasures:
    """The requests of one warehouse. Writers hold the `WriteLock`."""

    settings: Settings

    def all(self) -> list[Erasure]:
        """Every request, the oldest first.

        Raises:
            ErasureError: they were made under another pseudonym key, so that nobody can tell whom they mean.
        """
        if not self._path.exists():
            return []
        saved = json.loads(self._path.read_text())
        if saved["key"] != identity.key_fingerprint(self.key):
            raise ErasureError(
                f"{self._path}: {len(saved['erasures'])} learners were erased under another pseudonym key; under this "
                f"one a load would bring them back. Set the earlier {PREFIX}PSEUDONYM_KEY again"
            )
        lists = ("identifiers", "landing", "rewritten", "removed_consumers")
        return [Erasure(**x | {name: tuple(x[name]) for name in lists if name in x}) for x in saved["erasures"]]

    def at(self, *stages: Stage, source: str | None = None) -> list[Erasure]:
        """Requests at one of these stages (at any, when none is named), of one source if given."""
        return [x for x in self.all() if (not stages or x.stage in stages) and source in (None, x.source)]

    def save(self, erasure: Erasure) -> Erasure:
        """Adds a request, or replaces it by its new state."""
        others = [x for x in self.all() if x.tombstone != erasure.tombstone]
        saved = sorted([*others, erasure], key=lambda x: (x.asked_at, x.receipt))
        identity.owner_only(self.settings.identity_dir, self.settings.identity_dir)
        write_owner_only(
            self._path,
            json.dumps({"key": identity.key_fingerprint(self.key), "erasures": [asdict(x) for x in saved]}, indent=1),
        )
        return erasure

    def last_unloaded(self, source: str) -> datetime | None:
        """When a learner of the source was last removed from raw, UTC without zone; None: never."""
        times = [datetime.fromisoformat(x.unloaded_at) for x in self.at(source=source) if x.unloaded_at]
        return max(times, default=None)

    @cached_property
    def key(self) -> bytes:
        return identity.read_key(self.settings)

    @property
    def _path(self) -> Path:
        return self.settings.identity_dir / "erased.json"


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
        return cls.among(erasures.at(source=source), source, erasures.key)

    @classmethod
    def among(cls, erasures: list[Erasure], source: str, key: bytes) -> "Erased | None":
        """Those of these requests."""
        if not erasures:
            return None
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
            keyed_hash_sql(f"_text{index}") if column.pii else _id_text(column.data_type, f"_text{index}")
            for index, column in enumerate(table.columns)
            if column in table.person_columns
        ]
        hashes = [keyed_hash_sql(f"{sql.literal(self.source + ':')} || {text}") for text in ids]
        conditions = " or ".join(f"coalesce({text} in ({_texts(self.tombstones)}), false)" for text in hashes)
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


def tombstone(learner_key: str, key: bytes) -> str:
    """What is kept of a learner who is erased: the keyed hash of his key in the warehouse."""
    return keyed_hash(learner_key, key)


def request_erasure(
    settings: Settings,
    contract: Contract,
    source: str,
    *,
    learner_id: str | None = None,
    learner_key: str | None = None,
) -> Erasure:
    """Write the tombstone of a learner. The next run of the source removes him; until it has published, repeat it.

    Args:
        learner_id: the id that the source's own files have for him; or
        learner_key: his key in the tables of the warehouse.

    Returns:
        The request; an earlier one, if he was erased before.

    Raises:
        ErasureError: no table of the source holds him.
    """
    erasures = Erasures(settings)
    candidates = [learner_key] if learner_key else learner_keys(contract, source, learner_id, erasures.key)
    hashes = [tombstone(candidate, erasures.key) for candidate in candidates]
    for erasure in erasures.at(source=source):
        if erasure.tombstone in hashes:
            return erasure
    with _connection(settings, erasures.key) as connection:
        for candidate, hashed in zip(candidates, hashes, strict=True):
            person = candidate.removeprefix(f"{source}:")
            if any(_raw_files(connection, contract, table, source, [person], settings) for table in contract.tables):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                # An address is written in any case, also where it is the id.
                asked = Erasure(secrets.token_hex(6), source, hashed, now)
                if "@" in (learner_id or ""):  # an address is written in any case, also where it is the id
                    asked = replace(asked, identifiers=(tombstone(f"{source}:{usual_form(learner_id)}", erasures.key),))
                return erasures.save(asked)
    raise ErasureError(
        f"No learner of source {source} has that {'key' if learner_key else 'id'}: looked in "
        f"{', '.join(table.name for table in contract.tables if table.person_columns)} of {settings.raw_dir}. "
        + (
            "The key is the one of core.dim_learner, with the source's name in front"
            if learner_key
            else "Give the id as the source's own files write it, not a pseudonym or an e-mail address"
        )
    )


def learner_keys(contract: Contract, source: str, learner_id: str, key: bytes) -> list[str]:
    """Keys that the warehouse may have for a source's own id: with its pseudonym, or as it is."""
    columns = [column for table in contract.tables for column in table.person_columns]
    keys = [f"{source}:{keyed_hash(learner_id, key)}"] if any(column.pii for column in columns) else []
    return keys + ([f"{source}:{learner_id}"] if any(column.person for column in columns) else [])


def unload(contract: Contract, source: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Remove the learners of a source who asked for it from raw, the identity store and both quarantines.

    Call it with the loader to itself (`only_loader`). Costs a look at a small file when nobody asked.
    """
    erasures = Erasures(settings)
    asked = erasures.at("asked", source=source)
    if not asked:
        return
    with _connection(settings, erasures.key) as connection:
        people = _people(connection, contract, source, settings, asked)
        for erasure in asked:
            person = people.get(erasure.tombstone, [])
            # Counted before anything goes: what a kill interrupts is not counted again.
            if not erasure.removed:
                known = _identifiers(connection, contract, source, person, settings)
                hashes = {tombstone(f"{source}:{usual_form(x)}", erasures.key) for x in known}
                erasure = replace(erasure, identifiers=tuple(sorted(hashes.union(erasure.identifiers))))
                erased = Erased.among([erasure], source, erasures.key)
                removed = _counts(connection, contract, source, person, settings, erased)
                erasure = erasures.save(replace(erasure, removed=removed))
            erased = Erased.among([erasure], source, erasures.key)
            for table in (*contract.tables, None):
                _clean_quarantine(contract, table, source, settings, erased)
            for table in contract.tables:
                _clean_raw(connection, contract, table, source, person, settings)
            for table in contract.tables:
                for path, _ in _identity_files(connection, contract, table, source, person, settings):
                    _rewrite(connection, path, table, person, settings)
            now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
            erasures.save(replace(erasure, stage="unloaded", unloaded_at=now))
            say(f"erasure {erasure.receipt}: {sum(erasure.removed.values()):,} rows removed from what was loaded")


def note_landing_files(
    contract: Contract, source: str, landing_place: Path, learner_id: str, erasure: Erasure, settings: Settings
) -> Erasure:
    """List the landing files that hold a learner and, when the setting `erase_from_landing` says so, clean them.

    A file that cannot be read or replaced stops nothing: it is among the `troubled` ones of the request.

    Returns:
        The request, with the names of the files. Archives are listed and left alone.
    """
    found, rewritten, troubled = [], set(erasure.rewritten), {}
    folder = settings.temp_dir / "_erasure"
    shutil.rmtree(folder, ignore_errors=True)  # copies of an earlier attempt that was killed
    identity.owner_only(folder, settings.temp_dir)
    try:
        for table in contract.tables if landing_place.exists() else ():
            try:
                files = landing.find_files(table, landing_place, settings)
            except landing.LandingError as error:
                troubled[f"files of table {table.name}"] = str(error)
                continue
            for file in files:
                try:
                    _remove_left_copies(file.container)
                    with landing.content_of(file, folder, settings) as content:
                        if not _holds(content.path, file, table, learner_id):
                            continue
                        found.append(file.name)
                        if settings.erase_from_landing and file.member is None:
                            _clean_landing_file(file, content.path, table, contract, learner_id, folder)
                            rewritten.add(file.name)
                except (BrokenFile, landing.LandingError) as error:
                    troubled[file.name] = str(error)
                except OSError as error:
                    troubled[file.name] = f"the system says {error.strerror or type(error).__name__}"
                except duckdb.Error as error:  # its words may hold values of rows
                    troubled[file.name] = f"the engine cannot read it ({type(error).__name__})"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    files = tuple(sorted({*found, *erasure.landing}))
    return Erasures(settings).save(
        replace(erasure, landing=files, rewritten=tuple(sorted(rewritten)), troubled=dict(sorted(troubled.items())))
    )


def write_owner_only(path: Path, text: str) -> None:
    """Replaces a file as a whole, readable by its owner only; it is on the disk when this returns.

    Of what was erased nothing else is known: a power failure must leave the earlier file or the new one, whole.
    """
    incoming = path.with_suffix(".incoming")
    incoming.unlink(missing_ok=True)
    with os.fdopen(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _put_on_disk(incoming, path)


def _put_on_disk(incoming: Path, path: Path) -> None:
    """Moves a file, whose content is on the disk, to its place, and waits until that is on the disk, too."""
    incoming.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- raw and the identity store


def _connection(settings: Settings, key: bytes) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"memory_limit": settings.memory_limit, "threads": settings.threads})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    set_key(connection, key)
    return connection


def _people(
    connection: duckdb.DuckDBPyConnection, contract: Contract, source: str, settings: Settings, asked: list[Erasure]
) -> dict[str, list[str]]:
    """Ids in raw by tombstone; [] of those who are gone already."""
    found: dict[str, list[str]] = {}
    tombstones = _texts(erasure.tombstone for erasure in asked)
    for table in contract.tables:
        folders = (_raw_folder(contract, table, source, settings), _identity_folder(contract, table, source, settings))
        for folder in folders:
            for column in table.person_columns if any(folder.rglob("*.parquet")) else ():
                ids = f"select distinct cast({sql.name(column.name)} as varchar) as id from {_all_files(folder)}"
                hashed = keyed_hash_sql(f"{sql.literal(source + ':')} || id")
                query = f"select id, hash from (select id, {hashed} as hash from ({ids})) where hash in ({tombstones})"
                for person, hash_ in connection.execute(query).fetchall():
                    if person not in found.setdefault(hash_, []):
                        found[hash_].append(person)
    return found


def _raw_folder(contract: Contract, table: Table, source: str, settings: Settings) -> Path:
    return settings.raw_dir / contract.name / table.name / f"source={source}"


def _identity_folder(contract: Contract, table: Table, source: str, settings: Settings) -> Path:
    return settings.identity_dir / contract.name / table.name / f"source={source}"


def _all_files(folder: Path) -> str:
    return f"read_parquet({sql.literal(folder / '**' / '*.parquet')}, filename = true, hive_partitioning = false)"


def _is_theirs(columns: Iterable, person: list[str]) -> str:
    conditions = [
        f"coalesce({sql.name(column.name)} in ({_literals(column.data_type, person)}), false)" for column in columns
    ]
    return " or ".join(conditions) or "false"


def _literals(data_type: str, person: list[str]) -> str:
    if data_type == "varchar":
        return _texts(person)
    return ", ".join(f"try_cast({sql.literal(text)} as {data_type})" for text in person)


def _files_with(
    connection: duckdb.DuckDBPyConnection, folder: Path, columns: Iterable, person: list[str]
) -> list[tuple[Path, int]]:
    """Files below a folder that hold a person, and how many rows."""
    if not (columns and person and any(folder.rglob("*.parquet"))):
        return []
    query = f"select filename, count(*) from {_all_files(folder)} where {_is_theirs(columns, person)} group by filename"
    return [(Path(name), count) for name, count in connection.execute(query + " order by filename").fetchall()]


def _raw_files(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> list[tuple[Path, int]]:
    return _files_with(connection, _raw_folder(contract, table, source, settings), table.person_columns, person)


def _identity_files(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> list[tuple[Path, int]]:
    if not table.has_direct:
        return []
    return _files_with(connection, _identity_folder(contract, table, source, settings), table.pseudonym_columns, person)


def _counts(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    source: str,
    person: list[str],
    settings: Settings,
    erased: Erased,
) -> dict[str, int]:
    counts = {}
    for table in contract.tables:
        counts[f"raw.{table.name}"] = sum(
            n for _, n in _raw_files(connection, contract, table, source, person, settings)
        )
        counts[f"identity.{table.name}"] = sum(
            n for _, n in _identity_files(connection, contract, table, source, person, settings)
        )
        counts[f"quarantine.{table.name}"] = sum(
            sum(erased.is_in(row["raw_bytes"]) for row in rows)
            for _, rows in _refused_rows(contract, table, source, settings)
        )
    return {place: count for place, count in counts.items() if count}


def _clean_raw(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: Table,
    source: str,
    person: list[str],
    settings: Settings,
) -> None:
    ledger = Ledger(settings)
    files = [path for path, _ in _raw_files(connection, contract, table, source, person, settings)]
    days = {
        path.parent.name.removeprefix("event_date=") for path in files if path.parent.name.startswith("event_date=")
    }
    ledger.mark(contract.name, table.name, source, [date.fromisoformat(day) for day in sorted(days)])
    for path in files:
        _rewrite(connection, path, table, person, settings)
    folder = _raw_folder(contract, table, source, settings)
    rows = {}
    if any(folder.rglob("*.parquet")):
        pattern = sql.literal(folder / "**" / "*.parquet")
        query = f"select file_name, num_rows from parquet_file_metadata({pattern})"
        for name, count in connection.execute(query).fetchall():
            rows[Path(name).stem] = rows.get(Path(name).stem, 0) + count
    ledger.recount(contract.name, table.name, source, rows, _refused_counts(contract, table, source, settings))


def _rewrite(
    connection: duckdb.DuckDBPyConnection, path: Path, table: Table, person: list[str], settings: Settings
) -> None:
    """Replaces a Parquet file by one without the person; an event day that is empty then goes."""
    is_identity = settings.identity_dir in path.parents
    columns = table.pseudonym_columns if is_identity else table.person_columns
    rest = f"select * from read_parquet({sql.literal(path)}, hive_partitioning = false)"
    rest += f" where not ({_is_theirs(columns, person)})"
    incoming = path.with_suffix(".incoming")
    ((left,),) = connection.execute(sql.copy_to_parquet(rest, incoming)).fetchall()
    if is_identity:
        incoming.chmod(0o600)
    incoming.replace(path)
    if not left and path.parent.name.startswith("event_date="):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _identifiers(
    connection: duckdb.DuckDBPyConnection, contract: Contract, source: str, person: list[str], settings: Settings
) -> set[str]:
    """Direct identifiers of a person; what is shorter than a name would be found everywhere."""
    found: set[str] = set()
    for table in contract.tables:
        for path, _ in _identity_files(connection, contract, table, source, person, settings):
            for column in table.direct_columns:
                values = connection.execute(
                    f"select distinct cast({sql.name(column.name)} as varchar) from read_parquet({sql.literal(path)}) "
                    f"where {_is_theirs(table.pseudonym_columns, person)}"
                ).fetchall()
                found.update(value.strip() for (value,) in values if value and len(value) > 4)
    return found


# --- landing files


def _holds(path: Path, file: landing.LandingFile, table: Table, learner_id: str) -> bool:
    if file.format == "parquet":
        with duckdb.connect() as connection:
            condition = _is_id(path, table, learner_id, connection)
            query = f"select count(*) from read_parquet({sql.literal(path)}) where {condition}"
            return connection.execute(query).fetchall()[0][0] > 0
    if not path.stat().st_size:
        return False
    written = (learner_id, learner_id.replace('"', '""'), learner_id.replace('"', '\\"'))
    ids = b"|".join(re.escape(text.encode()) for text in dict.fromkeys(written))
    pattern = re.compile(rb"(?<![\w.@+-])(?:" + ids + rb")(?![\w.@+-])")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None


def _is_id(path: Path, table: Table, learner_id: str, connection: duckdb.DuckDBPyConnection) -> str:
    described = connection.execute(f"describe from read_parquet({sql.literal(path)})").fetchall()
    there = [column.name for column in table.person_columns if column.name in {name for name, *_ in described}]
    conditions = [
        f"coalesce(cast({sql.name(column)} as varchar) = {sql.literal(learner_id)}, false)" for column in there
    ]
    return " or ".join(conditions) or "false"


def _clean_landing_file(
    file: landing.LandingFile, content: Path, table: Table, contract: Contract, learner_id: str, folder: Path
) -> None:
    """Replaces a landing file by one without the learner's records; all others keep their exact bytes (of text).

    Args:
        content: its uncompressed bytes.
        folder: of the warehouse, where its owner only may read.
    """
    rest = folder / "rest"
    rest.unlink(missing_ok=True)
    if file.format == "parquet":
        with duckdb.connect() as connection:
            condition = _is_id(content, table, learner_id, connection)
            rows = f"select * from read_parquet({sql.literal(content)}) where not ({condition})"
            connection.execute(f"copy ({rows}) to {sql.literal(rest)} (format parquet)").fetchall()
        if file.is_gzip:
            with rest.open("rb") as plain, gzip.open(packed := folder / "packed", "wb") as out:
                shutil.copyfileobj(plain, out)
            packed.replace(rest)
    else:
        splitter = Splitter(contract.dialect, read_header(content, contract.dialect))
        with content.open("rb") as stream, (gzip.open if file.is_gzip else open)(rest, "wb") as out:
            out.write(stream.read(splitter.header.start))
            for record in splitter.records(content):
                if not _is_record_of(record, splitter, table, learner_id):
                    out.write(record)
    _replace(file.container, rest)


def _is_record_of(record: bytes, splitter: Splitter, table: Table, learner_id: str) -> bool:
    """Whether a record is the learner's: by the columns of people or, where it has not its fields, by any of them."""
    fields = [_unquoted(text, splitter) for text in splitter.fields(record)]
    if learner_id not in fields:
        return False
    names = splitter.header.names or tuple(column.name for column in table.columns)
    people = {column.name for column in table.person_columns}
    if len(fields) != splitter.header.fields or len(names) != len(fields) or not people.intersection(names):
        return True
    return learner_id in {text for name, text in zip(names, fields, strict=True) if name in people}


def _unquoted(text: bytes, splitter: Splitter) -> str:
    quote = splitter.dialect.quote
    plain = text.decode(errors="replace")
    return plain.replace((splitter.dialect.escape or quote) + quote, quote) if quote else plain


def _replace(original: Path, fresh: Path) -> None:
    """Replaces a landing file at once by one of the warehouse's folder, which may be of another file system."""
    status = original.stat()
    beside = original.with_name(f".{original.name}{OUR_COPIES}")
    try:
        with fresh.open("rb") as stream, _owner_only_file(beside) as out:
            shutil.copyfileobj(stream, out)
            out.flush()
            with suppress(PermissionError):
                os.fchown(out.fileno(), status.st_uid, status.st_gid)
            os.fchmod(out.fileno(), status.st_mode & 0o7777)
            os.fsync(out.fileno())
        _put_on_disk(beside, original)
    finally:
        beside.unlink(missing_ok=True)


def _owner_only_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _remove_left_copies(container: Path) -> None:
    """Removes what an attempt that was killed left beside a landing file: whole copies of it."""
    for ending in (OUR_COPIES, ".plain"):
        container.with_name(f".{container.name}{ending}").unlink(missing_ok=True)


# --- quarantine


def _refused_rows(
    contract: Contract, table: Table, source: str, settings: Settings
) -> Iterable[tuple[Path, list[dict]]]:
    import pyarrow.parquet as pq

    for path in sorted(quarantine.rows_folder(contract, table, source, settings).glob("*.parquet")):
        yield path, pq.read_table(path).to_pylist()


def _refused_counts(contract: Contract, table: Table, source: str, settings: Settings) -> dict[str, int]:
    return {path.stem: len(rows) for path, rows in _refused_rows(contract, table, source, settings)}


def _clean_quarantine(contract: Contract, table: Table | None, source: str, settings: Settings, erased: Erased) -> None:
    """Removes refused rows with the learner's id or identifiers in them, and masks these in files refused whole.

    What cannot be searched (a damaged archive) goes: it is a copy, and the original lies in the landing place.
    """
    for path, rows in _refused_rows(contract, table, source, settings) if table else ():
        kept = [row for row in rows if not erased.is_in(row["raw_bytes"])]
        if len(kept) == len(rows):
            continue
        if not kept:
            path.unlink()
            continue
        incoming = path.with_suffix(".incoming")
        values = ((row["record"], row["reason"], row["raw_bytes"]) for row in kept)
        quarantine.write_rows(values, rows[0]["file"], incoming, settings)
        incoming.chmod(path.stat().st_mode)
        incoming.replace(path)
    for path in sorted(quarantine.files_folder(contract, table, source, settings).glob("*")):
        quarantine.mask_file(path, erased.masked)


def _id_text(data_type: str, text: str) -> str:
    """The id of a landing file's text as raw has it."""
    return text if data_type == "varchar" else f"cast(try_cast({text} as {data_type}) as varchar)"


def _texts(values: Iterable[str]) -> str:
    return ", ".join(sql.literal(value) for value in sorted(values))
