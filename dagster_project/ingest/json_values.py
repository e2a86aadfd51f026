"""Records of JSON as Python sees them, one at a time: those that are refused, and those of landing files to clean."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from dagster_project.contracts.forms import JsonForm
from dagster_project.contracts.json_paths import Path as JsonPath
from dagster_project.contracts.json_paths import is_below
from dagster_project.contracts.source import Table
from dagster_project.ingest.json_records import JsonLines

MASK = "***"
MISSING = object()


def parsed(data: bytes, splitter: JsonLines) -> dict[str, Any] | None:
    """The object of a record, unwrapped, its stringified parts objects; None where it is no JSON object."""
    cut = splitter.cut(data)
    try:
        record = json.loads(cut.decode()) if cut is not None else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    for path in splitter.form.unwrap:
        inner = _opened(value_at(record, path))
        if isinstance(inner, dict):
            record = inner
            break
    for path in sorted(splitter.form.stringified, key=len):
        value = value_at(record, path)
        if isinstance(value, str):
            _put(record, path, _opened(value))
    return record


def value_at(record: Any, path: JsonPath) -> Any:
    """What lies at a path; `MISSING` where nothing does."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(record, list) or step >= len(record):
                return MISSING
        elif not isinstance(record, dict) or step not in record:
            return MISSING
        record = record[step]
    return record


def masked(data: bytes, splitter: JsonLines, table: Table, *, is_personal: bool) -> bytes:
    """The bytes of a refused record with asterisks for what may not be shown.

    That is what is dropped and, of a personal table, what precedes the record, the values of columns with `pii` and of
    all that the contract does not know. What is no JSON is hidden wholly where anything may be hidden in it.
    """
    if not is_personal and not splitter.form.drop_paths:
        return data
    record = parsed(data, splitter)
    if record is None:
        return b"*" * len(data)
    columns = [(path, column) for column in table.columns for path in column.paths]
    hidden = set(splitter.form.drop_paths) | {path for path, column in columns if column.pii and is_personal}
    shown = {path for path, column in columns if not column.pii} if is_personal else {()}
    text = json.dumps(_masked(record, (), hidden, shown, splitter.form), ensure_ascii=False)
    prefix = b"" if is_personal else data[: len(data) - len(splitter.cut(data) or data)]
    return prefix + text.encode(errors="replace")


def is_of(data: bytes, splitter: JsonLines, table: Table, ids: Collection[str]) -> bool:
    """Whether a record is a person's, by the columns of people or, where it is no JSON, by any word of it."""
    record = parsed(data, splitter)
    if record is None:
        text = data.decode(errors="replace")
        return any(id_ in text for id_ in ids)
    paths = [path for column in table.person_columns for path in column.paths]
    values = (value_at(record, path) for path in paths) if paths else _leaves(record)
    return any(_text(value) in ids for value in values if value is not MISSING)


def written_forms(text: str) -> list[str]:
    """How JSON may write a text: as it is, in escapes, and in a string within a string."""
    forms = [text, text.replace("/", "\\/")]
    for _ in range(3):
        forms += [json.dumps(form, ensure_ascii=ascii)[1:-1] for form in forms for ascii in (True, False)]
        forms = list(dict.fromkeys(forms))
    return forms


def _opened(value: Any) -> Any:
    """The object or list that a string holds, or that a string in it holds; else the value itself."""
    opened = value
    for _ in range(2):
        if isinstance(opened, str):
            try:
                opened = json.loads(opened)
            except (ValueError, RecursionError):
                return value
    return opened if isinstance(opened, dict | list) else value


def _put(record: dict[str, Any], path: JsonPath, value: Any) -> None:
    parent = value_at(record, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value


def _masked(value: Any, path: JsonPath, hidden: set[JsonPath], shown: set[JsonPath], form: JsonForm) -> Any:
    if path in hidden:
        return MASK
    is_shown = any(is_below(path, other) for other in shown)
    if isinstance(value, str) and path in form.stringified and any(is_below(other, path) for other in hidden):
        return MASK  # no JSON, and something in it may be what is hidden
    if isinstance(value, dict):
        return {
            key if is_shown or any(is_below(other, (*path, key)) for other in (shown | hidden)) else MASK: _masked(
                item, (*path, key), hidden, shown, form
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, (*path, place), hidden, shown, form) for place, item in enumerate(value)]
    return value if is_shown or value is None else MASK


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _text(value: Any) -> str:
    """A scalar as the engine writes it."""
    return value if isinstance(value, str) else json.dumps(value)
