"""Which columns of a landing file are the contract's, and what is said of a header that has not all of them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import takewhile

from dagster_project.base.words import nearest
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest.records import BrokenFile, Header

Positions = tuple[int | None, ...]
"""Where each of the contract's columns stands in a file; None: an optional one that it lacks."""
SHOWN_NAMES = 50
SHOWN_CHARACTERS = 100
"""How much an error shows of a file's columns, and of the name of one."""
DELIMITERS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
"""What usually stands between fields, and what it is called."""


def columns_of_text(contract: Contract, table: Table, header: Header) -> tuple[Positions, tuple[str, ...]]:
    """As `match_columns`, of the first line of a text file.

    Where columns go by position, optional ones at the end may be missing.
    """
    if header.names is not None and not table.form.columns_by_position:
        return match_columns(contract, table, header.names)
    optional = list(takewhile(lambda column: column.optional, reversed(table.columns)))
    if not len(table.columns) - len(optional) <= header.fields <= len(table.columns):
        first, reason = (
            ("first record", "no header line") if header.names is None else ("header line", "goes by position")
        )
        raise BrokenFile(
            f"{header.fields} fields in the {first}; table {table.name} of contract {contract.name} has "
            f"{len(table.columns)} columns and {reason}: {', '.join(_names(table))}. Deliver all of them in this "
            f"order, or change the contract {contract.path.name}"
        )
    return tuple(place if place < header.fields else None for place in range(len(table.columns))), ()


def match_columns(contract: Contract, table: Table, names: Sequence[str]) -> tuple[Positions, tuple[str, ...]]:
    """Positions of the contract's columns among a file's, in the contract's order, and the file's other columns.

    Raises:
        BrokenFile: a column is missing or there twice; names all of them, and what the file has instead. An optional
            one may be missing, unless it looks as if it were renamed.
    """
    if delimiter := _other_delimiter(contract, table, names):
        raise BrokenFile(
            f"the file is separated by {_called(delimiter)} where the contract {contract.name} says "
            f"{_called(table.form.dialect.delimiter)}; set `csv: delimiter` in {contract.path.name}, or export the "
            "file again"
        )
    called = called_in(table, names)
    problems = []
    for column in table.columns:
        name = called[column.name]
        if name not in names:
            near = nearest(column.name, [other for other in names if other not in called.values()])
            hint = f" (renamed to {shown(near)}?)" if near else ""
            if near or not column.optional:
                problems.append(f"column {' or '.join((column.name, *column.names))} is missing{hint}")
        elif list(names).count(name) > 1:
            problems.append(f"column {name} is there {list(names).count(name)} times")
    if problems:
        needed = ", ".join(column.name for column in table.columns if not column.optional)
        raise BrokenFile(
            f"{'; '.join(problems)}. Table {table.name} of contract {contract.name} needs {needed}; "
            f"found {listed(names)}. Put the header right and deliver the file again, or change the contract "
            f"{contract.path.name}"
        )
    others = tuple(name for name in names if name not in called.values())
    there = {name: position for position, name in enumerate(names)}
    return tuple(there.get(called[column.name]) for column in table.columns), others


def called_in(table: Table, names: Sequence[str]) -> dict[str, str]:
    """What each of a table's columns is called in a file: its own name, or the first of its others that is there."""
    called = {column.name: column.name for column in table.columns}
    own = set(called)
    for column in table.columns:
        if column.name in names:
            continue
        for pattern in column.names:
            found = [name for name in names if name not in own and fnmatchcase(name, pattern)]
            if found:
                called[column.name] = found[0]
                break
    return called


def listed(names: Sequence[str]) -> str:
    """Names of a file's columns for a message, in one line."""
    first = ", ".join(map(shown, names[:SHOWN_NAMES]))
    return first + (f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else "")


def shown(name: str) -> str:
    """A name of a landing file on one line: cut off, and with escapes for what moves the cursor."""
    cut = name[:SHOWN_CHARACTERS]
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut)


def _other_delimiter(contract: Contract, table: Table, names: Sequence[str]) -> str | None:
    """The delimiter by which a header holds most of the columns, where by the contract's it holds fewer than half."""
    wanted = set(called_in(table, names).values())
    if len(wanted) < 2 or 2 * len(wanted.intersection(names)) >= len(wanted):
        return None
    line = table.form.dialect.delimiter.join(names)
    for delimiter in DELIMITERS:
        split = {part.strip().strip(table.form.dialect.quote) for part in line.split(delimiter)}
        if delimiter != table.form.dialect.delimiter and 2 * len(wanted & split) > len(wanted):
            return delimiter
    return None


def _called(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, repr(delimiter))


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]
