"""`make search-identifiers`: everything that runs write, searched for every direct identifier of the identity store."""

import html
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project.base.engine import attach, open_engine
from dagster_project.base.sql import literal
from dagster_project.contracts.source import Contract
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.identifiers import load_identifiers, search_columns, text_columns

WORD = re.compile(r"[^\W_]+")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})|\\[nrt]")
DATABASES = (".db", ".sqlite")


def identity_files(contracts: Iterable[Contract], settings: Settings) -> dict[Path, list[str]]:
    """Files of the identity store, with their columns of direct identifiers."""
    return {
        path: [column.name for column in table.direct_columns]
        for contract in contracts
        for table in contract.tables
        if table.has_direct
        for path in sorted((settings.identity_dir / contract.name / table.name).rglob("*.parquet"))
    }


@dataclass
class Search:
    """What was searched and what was found.

    Attributes:
        identifiers: how many were looked for.
        places: files, tables' columns, … looked at, by place.
        hits: for each file or column with identifiers in it how many values (of files: words) hold one.
    """

    identifiers: int = 0
    places: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"Searched for {self.identifiers:,} names, e-mail addresses and other direct identifiers:"]
        lines += [f"  {count:>9,} {place}" for place, count in self.places.items()]
        lines += [f"  FOUND in {place}: {count:,}" for place, count in self.hits.items()]
        lines.append(f"{sum(self.hits.values()):,} hits" + ("" if self.hits else ": none outside the identity store."))
        return "\n".join(lines)


def search_identifiers(contracts: Iterable[Contract], settings: Settings) -> Search:
    """Search raw, quarantine, the build database, every snapshot, pages, artifacts, and the runs' records and logs."""
    search = Search()
    home = settings.home
    with open_engine(settings) as connection:
        search.identifiers = load_identifiers(connection, identity_files(contracts, settings))
        databases = sorted((settings.published_dir / "snapshots").glob("*/*.duckdb"))
        of_consumers = sorted(settings.published_for_dir.glob("*/*/snapshots/*/*.duckdb"))
        for place, paths in (
            ("published", databases),
            ("consumers'", of_consumers),
            ("build", [settings.build_database]),
        ):
            for path in filter(Path.exists, paths):
                attach(connection, path, "searched")
                _add(
                    search,
                    f"text columns of the {place} database",
                    search_columns(connection, text_columns(connection, "searched")),
                    path,
                )
                connection.execute("detach searched")
        for place, folder in (
            ("published", settings.published_dir / "snapshots"),
            ("consumers'", settings.published_for_dir),
            ("raw", settings.raw_dir),
            ("quarantine", settings.quarantine_dir),
            ("artifact", settings.artifacts_dir),
        ):
            files = sorted(path for path in folder.rglob("*.parquet") if path.stat().st_size)
            for group in _by_folder(files):
                relation = f"read_parquet([{', '.join(map(literal, group))}], union_by_name = true)"
                described = connection.execute(f"describe from {relation}").fetchall()
                columns = [(column, relation, column) for column, kind, *_ in described if kind in ("VARCHAR", "BLOB")]
                _add(search, None, search_columns(connection, columns), group[0].parent)
            search.places[f"{place} Parquet files"] = len(files)
        rows = connection.execute("select words, length from identifiers").fetchall()
    words = {words for words, _ in rows}
    lengths = sorted({length for _, length in rows})
    first = {text.split(" ", 1)[0] for text in words}
    for place, folders in (
        ("pages", [settings.published_dir / "snapshots", settings.pages_dir]),
        ("files of artifacts (models, Data Docs, receipts)", [settings.artifacts_dir]),
        ("files of quarantine", [settings.quarantine_dir]),
        ("files of Dagster's storage and logs", [home / "dagster"]),
        ("files of dbt's logs and compiled models", [REPOSITORY / "dbt" / "logs", REPOSITORY / "dbt" / "target"]),
        ("files beside them", [home]),
    ):
        count = 0
        for folder in folders:
            paths = folder.glob("*") if folder == home else folder.rglob("*")
            for path in sorted(paths):
                if not path.is_file() or path.is_symlink() or path.suffix in (".parquet", ".duckdb"):
                    continue
                count += 1
                if hits := sum(_count(text, words, lengths, first) for text in _texts(path)):
                    search.hits[str(path.relative_to(home) if path.is_relative_to(home) else path)] = hits
        search.places[place] = count
    return search


def _add(search: Search, place: str | None, found, path: Path) -> None:
    if place:
        search.places[place] = search.places.get(place, 0) + found.columns
    for column, count in found.hits.items():
        search.hits[f"{path}: {column}"] = count


def _by_folder(files: list[Path]) -> Iterator[list[Path]]:
    """Files of one table together: of an event table a thousand days at a time."""
    groups: dict[Path, list[Path]] = {}
    for path in files:
        parent = path.parent.parent if path.parent.name.startswith("event_date=") else path.parent
        groups.setdefault(path if parent.parent.name == "parquet" else parent, []).append(path)
    for group in groups.values():
        yield from (group[start : start + 1000] for start in range(0, len(group), 1000))


def _texts(path: Path) -> Iterator[str]:
    """The texts of a file: of a SQLite database its values, so that a page's end cuts none in two."""
    if path.suffix in DATABASES:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
                for row in connection.execute(f'select * from "{table}"'):
                    yield from (_decoded(value) for value in row if isinstance(value, str | bytes))
        return
    yield _decoded(path.read_bytes())


def _decoded(value: str | bytes) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", text)
    return html.unescape(text) if "&" in text else text


def _count(text: str, words: set[str], lengths: list[int], first: set[str]) -> int:
    """How often one of the identifiers stands in a text."""
    spoken = WORD.findall(text.lower())
    return sum(
        " ".join(spoken[place : place + length]) in words
        for place, start in enumerate(spoken)
        if start in first
        for length in lengths
    )
