"""Tables of which a publication replaces the rows that changed, and leaves all others of the earlier file in place."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.base.engine import one_row, transaction
from dagster_project.base.sql import identifier, literal, qualified
from dagster_project.store.identifiers import is_text
from dagster_project.store.meta import Table

LEAST_ROWS = 50_000
"""Smaller tables are written whole: to look for what changed in them takes as long."""
MOST_CHANGED = 0.2
"""Share of the rows from which a table is written whole."""
BUCKETS = 1 << 16


@dataclass(frozen=True)
class Changed:
    """What was replaced in a table.

    Attributes:
        parts: those of its Parquet export in which rows went or came; None: some did, and it has no parts.
        new_texts: Parquet file of the text columns of the rows that came; None where it has none.
    """

    parts: frozenset[str] | None
    new_texts: Path | None


def replace_changed_rows(
    connection: duckdb.DuckDBPyConnection, table: Table, query: str, part: str | None, folder: Path
) -> Changed | None:
    """Bring a table of the attached `snapshot` to the rows of a query, both as bags; None: too many differ.

    Rows are told apart by 64 bits of hash: where n of N rows differ, one of them is overlooked with a probability of
    n · N / 2^64, 1 in 10^9 for a day of 10,000 rows among two million.

    Args:
        query: of all rows, with the columns of the table.
        part: SQL of the part of the Parquet export that a row is in; None: it has no parts.
        folder: where files of new texts go.
    """
    target, rows_now = qualified(table.full_name, "snapshot"), f"({query})"
    row_hash = f"hash({', '.join(identifier(column.name) for column in table.columns)})"
    connection.execute(
        f"create or replace temporary table hashes_there as select rowid as place, {row_hash} as row_hash from {target}"
    )
    connection.execute(f"create or replace temporary table hashes_now as select {row_hash} as row_hash from {rows_now}")
    _find_changed(connection)
    changed, rows = one_row(connection, "select (select count(*) from changed), (select count(*) from hashes_there)")
    parts: frozenset[str] | None = frozenset()
    new_texts = None
    if changed > MOST_CHANGED * rows:
        return None
    if changed:
        connection.execute(
            "create or replace temporary table gone as "
            "select place from hashes_there where row_hash in (select row_hash from changed)"
        )
        connection.execute(
            "create or replace temporary table came as "
            f"select * from {rows_now} where {row_hash} in (select row_hash from changed)"
        )
        is_gone = "rowid in (select place from gone)"
        parts = None
        if part:
            found = f"select {part} from {target} where {is_gone} union select {part} from came"
            parts = frozenset(name for (name,) in connection.execute(found).fetchall())
        if texts := ", ".join(identifier(x.name) for x in table.columns if is_text(x.data_type)):
            folder.mkdir(parents=True, exist_ok=True)
            new_texts = folder / f"{table.full_name}.parquet"
            connection.execute(f"copy (select {texts} from came) to {literal(new_texts)} (format parquet)")
        with transaction(connection):
            connection.execute(f"delete from {target} where {is_gone}")
            connection.execute(f"insert into {target} from came")
    return Changed(parts, new_texts)


def _find_changed(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary table `changed` (row_hash): rows that are not as often on one side as on the other.

    Sums of a bucket's hashes are compared first, so that rows of few buckets only are counted one by one.
    """
    there, now = (
        f"(select row_hash % {BUCKETS} as bucket, sum(row_hash) as total, count(*) as row_count from {side} "
        "group by all)"
        for side in ("hashes_there", "hashes_now")
    )
    connection.execute(
        f"create or replace temporary table buckets as select bucket from {there} as there "
        f"full join {now} as now using (bucket) "
        "where (there.total, there.row_count) is distinct from (now.total, now.row_count)"
    )
    hashes = " union all ".join(
        f"select row_hash, {sign} as sign from {side} where row_hash % {BUCKETS} in (select bucket from buckets)"
        for side, sign in (("hashes_there", -1), ("hashes_now", 1))
    )
    connection.execute(
        f"create or replace temporary table changed as select row_hash from ({hashes}) "
        "group by row_hash having sum(sign) != 0"
    )
