"""Direct identifiers where none may be: an exact search of text columns for everybody's name, e-mail and the like.

An identifier is found where its words stand one after the other, whatever is between them and whatever their case;
words are runs of letters and digits. Identifiers of one word are not searched for: they could be any word.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.base.sql import identifier, literal

WORDS = r"[^\p{L}\p{N}]+"


@dataclass(frozen=True)
class Found:
    """Result of a search: columns looked at, identifiers looked for, and values with an identifier by column.

    Attributes:
        earlier: columns that were not looked at again: an earlier search found none of the same identifiers in them.
    """

    columns: int
    identifiers: int
    hits: Mapping[str, int]
    earlier: int = 0


def load_identifiers(connection: duckdb.DuckDBPyConnection, files: Mapping[Path, Iterable[str]]) -> int:
    """Make the temporary table `identifiers` (words, length, has_mark) of columns of Parquet files; returns its rows.

    Args:
        files: Parquet file → its columns of direct identifiers.
    """
    connection.execute(
        "create or replace temporary table identifiers (words varchar, length integer, has_mark boolean)"
    )
    for path, columns in files.items():
        for column in columns:
            value = f"cast({identifier(column)} as varchar)"
            connection.execute(
                f"insert into identifiers select words, len(string_split(words, ' ')), has_mark from (select distinct "
                f"{_words('value')} as words, contains(value, ' ') or contains(value, '@') as has_mark from "
                f"(select {value} as value from read_parquet({literal(path)}))) where words is not null"
            )
    connection.execute(
        "create or replace temporary table identifiers as "
        "select words, length, bool_and(has_mark) as has_mark from identifiers where length > 1 group by words, length"
    )
    return connection.execute("select count(*) from identifiers").fetchall()[0][0]


def search_columns(connection: duckdb.DuckDBPyConnection, columns: Iterable[tuple[str, str, str]]) -> Found:
    """Search text columns, each (name for the reader, SQL of the relation, column), for `identifiers`."""
    ((lengths, is_marked, count),) = connection.execute(
        "select list(distinct length), coalesce(bool_and(has_mark), true), count(*) from identifiers"
    ).fetchall()
    # Where every identifier has a blank or an @ in it, so has every value that holds one; most keys have neither.
    where = "contains(value, ' ') or contains(value, '@')" if is_marked else "true"
    searched, hits = 0, {}
    for name, relation, column in columns:
        searched += 1
        if not count:
            continue
        value = f"cast({identifier(column)} as varchar)"
        candidates = f"select distinct value from (select {value} as value from {relation}) where {where}"
        connection.execute(
            f"create or replace temporary table candidates as "
            f"select value, string_split({_words('value')}, ' ') as words from ({candidates})"
        )
        if not connection.execute("select count(*) from candidates").fetchall()[0][0]:
            continue
        parts = " union all ".join(
            f"select value, unnest(list_transform(range(1, len(words) - {n} + 2), "
            f"lambda i: array_to_string(words[i:i + {n - 1}], ' '))) as words from candidates"
            for n in lengths
        )
        found = connection.execute(
            f"select count(distinct value) from ({parts}) where words in (select words from identifiers)"
        ).fetchall()[0][0]
        if found:
            hits[name] = found
    return Found(searched, count, hits)


def text_columns(connection: duckdb.DuckDBPyConnection, catalog: str) -> list[tuple[str, str, str]]:
    """Text columns of all tables of an attached database, as `search_columns` takes them."""
    rows = connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() inner join duckdb_tables() "
        "using (database_name, schema_name, table_name) where database_name = ? order by all",
        [catalog],
    ).fetchall()
    return [
        (
            f"{schema}.{table}.{column}",
            ".".join(map(identifier, (catalog, schema, table))),
            column,
        )
        for schema, table, column, data_type in rows
        if is_text(data_type)
    ]


def is_text(data_type: str) -> bool:
    """Whether values of a type are searched."""
    return data_type.startswith("VARCHAR") or data_type in ("BLOB", "JSON")


def _words(value: str) -> str:
    return f"trim(regexp_replace(lower({value}), '{WORDS}', ' ', 'g'))"
