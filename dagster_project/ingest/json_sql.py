"""The SQL that turns records of JSON into the texts of a contract's columns, which `ingest.sql` casts and checks.

A record is parsed once for all paths of a level: `json_extract_string` with a list. What the engine's `json_valid` lets
pass beyond JSON (NaN, infinities, a comma before a closing bracket) is looked for where a cheap pattern suspects it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dagster_project.base.sql import literal
from dagster_project.contracts.forms import JsonForm
from dagster_project.contracts.json_paths import Path as JsonPath
from dagster_project.contracts.json_paths import is_below, nearest_above, path_sql
from dagster_project.contracts.source import Column, Table
from dagster_project.ingest.sql import without

STRINGS = r'"(?:[^"\\]|\\.)*"'
SUSPECT = r"[:,\[]\s*(?:[+-]?[nNiI][aAnN][nNfF]|[}\]])"
NOT_JSON = r"[nNiI][aAnN][nNfF]|,\s*[}\]]"
MACROS = (
    # Cases, not conjunctions: of these the engine computes every part for every row.
    f"""create or replace temp macro is_strict_json(content) as case
        when not coalesce(json_valid(content), false) then false
        when not regexp_matches(content, {literal(SUSPECT)}) then true
        else not regexp_matches(regexp_replace(content, {literal(STRINGS)}, '""', 'g'), {literal(NOT_JSON)}) end""",
    # The object or list that a text holds, which may be written as a JSON string once more; null where it holds none.
    """create or replace temp macro opened(content) as case left(ltrim(content, ' \t\n\r'), 1)
        when '{' then case when is_strict_json(content) then content end
        when '[' then case when is_strict_json(content) then content end
        when '"' then case when is_strict_json(content)
            and left(ltrim(json_extract_string(content, '$')), 1) in ('{', '[')
            and is_strict_json(json_extract_string(content, '$'))
            then json_extract_string(content, '$') end
        end""",
    "create or replace temp macro is_object(content) as coalesce(starts_with(ltrim(content, ' \t\n\r'), '{'), false)",
)
"""Statements that a connection needs before it runs what `JsonSql` writes."""
PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def lines_relation(path: Path, max_record_bytes: int) -> str:
    """`_record` and `line` of a file with one line a record."""
    return (
        f"select row_number() over () as _record, line from read_csv({literal(path)}, auto_detect = false, "
        "header = false, columns = {'line': 'varchar'}, delim = chr(1), quote = '', escape = '', "
        f"max_line_size = {max_record_bytes + 2})"
    )


@dataclass(frozen=True)
class JsonSql:
    """Queries over the lines of a table's files.

    Args:
        table: the contract's table.
        form: of its records.
    """

    table: Table
    form: JsonForm

    def texts(self, lines: str) -> str:
        """`_record`, whether it `_is_json`, and `_text0`, … for the contract's columns, of a relation with `line`s."""
        cut = "line"
        if self.form.record_from:
            start = f"strpos(line, {literal(self.form.record_from)})"
            cut = f"case {start} when 0 then null when 1 then line else substr(line, {start}) end"
        query = f"select _record, {cut} as _cut from ({lines})"
        query = f"select *, is_strict_json(_cut) and is_object(_cut) as _is_json from ({query})"
        hashed = ", md5(_cut) as _hash" if any(column.is_hash for column in self.table.columns) else ""
        query = f"select *{hashed}, case when _is_json then _cut end as _whole from ({query})"
        document = "_whole"
        if self.form.unwrap:
            inside = [f"opened(json_extract_string(_whole, {_path(path)}))" for path in self.form.unwrap]
            listed = ", ".join(inside)
            document = f"coalesce(list_filter([{listed}], lambda part: is_object(part))[1], _whole)"
        query = f"select * exclude (_whole), {document} as _doc from ({query})"
        for parent, wanted in self._levels:
            document = self._document(parent)
            paths = ", ".join(_path(path[len(parent) :]) for path in wanted)
            query = f"select *, json_extract_string({document}, [{paths}]) as {self._list(parent)} from ({query})"
            children = [path for path in self.form.stringified if nearest_above(path, self.form.stringified) == parent]
            opened = "".join(f", opened({self._value(path, parent)}) as {self._document(path)}" for path in children)
            query = f"select *{opened} from ({query})" if opened else query
        if any(self._needs_clean(path) for column in self.table.columns for path in column.paths):
            for parent in sorted(((), *self.form.stringified), key=len, reverse=True):
                query = self._cleaned(parent, query)
        texts = ", ".join(f"{self._text(column)} as _text{index}" for index, column in enumerate(self.table.columns))
        return f"select _record, _is_json, {texts} from ({query})"

    @cached_property
    def hidden(self) -> tuple[JsonPath, ...]:
        """Paths of what no JSON text in a column may hold: dropped, or written elsewhere as a pseudonym or identity."""
        personal = (path for column in self.table.columns if column.pii for path in column.paths)
        return tuple(dict.fromkeys((*self.form.drop_paths, *personal)))

    @cached_property
    def _levels(self) -> list[tuple[JsonPath, list[JsonPath]]]:
        """The whole record and its stringified parts, outer ones first, each with the paths to take out of it."""
        stringified = self.form.stringified
        wanted: dict[JsonPath, list[JsonPath]] = {(): [], **{path: [] for path in sorted(stringified, key=len)}}
        columns = (path for column in self.table.columns for path in column.paths if path)
        for path in dict.fromkeys((*columns, *stringified)):
            wanted[nearest_above(path, stringified)].append(path)
        return [(parent, paths) for parent, paths in wanted.items() if paths]

    def _document(self, path: JsonPath) -> str:
        return f"_doc{self.form.stringified.index(path)}" if path else "_doc"

    def _list(self, parent: JsonPath) -> str:
        return f"_values{self.form.stringified.index(parent)}" if parent else "_values"

    def _value(self, path: JsonPath, parent: JsonPath) -> str:
        """Text of what lies at a path, whose nearest stringified part above is `parent`."""
        return f"{self._list(parent)}[{dict(self._levels)[parent].index(path) + 1}]"

    def _text(self, column: Column) -> str:
        if column.is_hash:
            return "_hash"
        null_values = dict.fromkeys((*self.table.form.dialect.null_values, *column.null_values))
        values = [self._delivered(path) for path in column.paths]
        values = [without(f"({value})", null_values) if null_values else value for value in values]
        return f"coalesce({', '.join(values)})" if len(values) > 1 else values[0]

    def _delivered(self, path: JsonPath) -> str:
        """Text of what lies at a path: JSON of objects and lists, without what is hidden in them."""
        if not path:
            return f"cast({self._clean(())} as varchar)"
        owner = nearest_above(path, self.form.stringified)
        value = self._value(path, owner)
        if path in self.form.stringified:
            opened = self._clean(path) if self._needs_clean(path) else self._document(path)
            return (
                f"cast({opened} as varchar)"
                if self._hides_below(path)
                else f"coalesce(cast({opened} as varchar), {value})"
            )
        if self._needs_clean(path):
            return f"json_extract_string({self._clean(owner)}, {_path(path[len(owner) :])})"
        return value

    def _needs_clean(self, path: JsonPath) -> bool:
        """Whether what lies at a path may hold parts that are hidden or stringified."""
        return (
            any(is_below(other, path) and other != path for other in (*self.hidden, *self.form.stringified)) or not path
        )

    def _hides_below(self, path: JsonPath) -> bool:
        return any(is_below(hidden, path) and hidden != path for hidden in self.hidden)

    def _clean(self, path: JsonPath) -> str:
        return self._document(path).replace("_doc", "_clean")

    def _cleaned(self, parent: JsonPath, query: str) -> str:
        """The query with a column `_clean…`: a part without what is hidden, its stringified parts JSON.

        Those below it are clean already. A text that is no JSON goes where something in it may be hidden.
        """
        clean, depth = self._clean(parent), len(parent)
        query = f"select *, {self._document(parent)} as {clean} from ({query})"
        children = [path for path in self.form.stringified if nearest_above(path, self.form.stringified) == parent]
        hidden = [path[depth:] for path in self.hidden if nearest_above(path, self.form.stringified) == parent]
        # A part may be a list, which a patch would replace; the whole record is an object.
        keys = [path[0] for path in hidden if len(path) == 1 and not parent]
        put = next((child for child in children if len(child) == 1), None)
        for child in children:
            if child != put:
                query = self._put(child, parent, query)
        for path in hidden:
            if len(path) > 1 or parent:
                removed = _where_it_may_be(path[-1:], f"json_remove({clean}, {_path(path)})", clean)
                # An object that has a key above it twice keeps what lies below the second: it gets one of them first.
                once = [
                    f"coalesce(json_set({clean}, {place}, json_extract({clean}, {place})), {clean})"
                    for place in (_path(path[:length]) for length in range(1, len(path)))
                ]
                steps = [
                    removed,
                    *(_where_it_may_be(path[-1:], step, clean) for step in once),
                    *([removed] if once else []),
                ]
                for step in steps:
                    query = f"select * replace ({step} as {clean}) from ({query})"
        # What lies at keys of the record itself goes with one parse, together with a string that its JSON replaces.
        text = _where_it_may_be(keys, f"json_merge_patch({clean}, {_nothing_at(keys)})", clean) if keys else clean
        if put:
            key, part = put[-1], self._clean(put)
            rest = f"cast(json_merge_patch({clean}, {_nothing_at([*keys, key])}) as varchar)"
            start = f"case {rest} when '{{}}' then '{{' else left({rest}, -1) || ',' end"
            spliced = f"{start} || {literal(json.dumps(key) + ':')} || {part} || '}}'"
            otherwise = text
            if self._hides_below(put):
                otherwise = f"case when {self._value(put, parent)} is null then {text} else {rest} end"
            text = f"case when {part} is not null then {spliced} else {otherwise} end"
        return f"select * replace ({text} as {clean}) from ({query})"

    def _put(self, child: JsonPath, parent: JsonPath, query: str) -> str:
        """The query with a stringified part of another one as JSON in it."""
        clean, place, part = self._clean(parent), _path(child[len(parent) :]), self._clean(child)
        put = f"when {part} is not null then json_set({clean}, {place}, cast({part} as json))"
        if self._hides_below(child):
            put += f" when {self._value(child, parent)} is not null then json_remove({clean}, {place})"
        return f"select * replace (case {put} else {clean} end as {clean}) from ({query})"


def _nothing_at(keys: Iterable[str | int]) -> str:
    """A patch that removes keys of an object."""
    return literal(json.dumps(dict.fromkeys(keys)))


def _where_it_may_be(keys: Iterable[str | int], removed: str, text: str) -> str:
    """The `removed`, or the text as it is where none of the keys can be in it: then nothing is parsed."""
    if not all(isinstance(key, str) and PLAIN_KEY.fullmatch(key) for key in keys):
        return removed
    may_be = " or ".join(f"contains({text}, {literal(piece)})" for piece in (*map(str, keys), "\\u"))
    return f"case when {may_be} then {removed} else {text} end"


def _path(path: JsonPath) -> str:
    return literal(path_sql(path))
