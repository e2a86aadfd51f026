"""Which columns a model's columns come from, read from its compiled SQL.

dagster-dbt can do this too, but it parses a model anew for every column: a minute and a half for this project, against
a third of a second here, where each model is resolved once.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import dagster as dg
from sqlglot import MappingSchema, exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, find_all_in_scope

from dagster_project.base.files import replaced

DIALECT = "duckdb"
_NAMES = re.compile(r"\b\w+\.\w+\b(?!\.)")
"""Whatever may be the name of a table in a query, its schema before it."""
_Found = dict[str, list[list[str]]]
_Known = dict[tuple[int, str], frozenset[tuple[str, str, str]]]


def column_lineages(
    queries: Mapping[str, str], columns: Mapping[str, Mapping[str, str]], kept: Path
) -> dict[str, dg.TableColumnLineage]:
    """Columns of other tables on which each column of a table depends, by table; those that nobody can follow left out.

    Args:
        queries: by "schema.table"; their tables are named `<schema>.<table>`, with or without the database before it.
        columns: type by column, by "schema.table", of all tables that they may read.
        kept: file of what was found of earlier queries, which is true of the same query on the same columns as long as
            it is followed in the same way.
    """
    before = json.loads(kept.read_text()) if kept.exists() else {}
    followed = f"{version('sqlglot')}\n{Path(__file__).read_text()}"
    found: dict[str, tuple[str, _Found | None]] = {}
    for name, sql in queries.items():
        read = {table: columns[table] for table in _NAMES.findall(sql.replace('"', "")) if table in columns}
        key = hashlib.sha256(f"{sql}\n{json.dumps(read, sort_keys=True)}\n{followed}".encode()).hexdigest()
        found[name] = (key, before[name][1] if before.get(name, [""])[0] == key else _lineage(sql, read))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replaced(kept) as incoming:
        incoming.write_text(json.dumps({**before, **found}))
    return {
        name: dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey([schema, table]), x) for schema, table, x in origins]
                for column, origins in lineage.items()
            }
        )
        for name, (_, lineage) in found.items()
        if lineage is not None
    }


def _lineage(sql: str, columns: Mapping[str, Mapping[str, str]]) -> _Found | None:
    """Schema, table and column of the origins of each column."""
    nested: dict[str, dict[str, Mapping[str, str]]] = {}
    try:
        query = parse_one(sql, dialect=DIALECT)
        for table in query.find_all(exp.Table):
            table.set("catalog", None)
            if types := columns.get(f"{table.db}.{table.name}"):
                nested.setdefault(table.db, {})[table.name] = types
        tables = MappingSchema({**nested}, dialect=DIALECT)
        query = qualify(query, schema=tables, dialect=DIALECT, identify=False, validate_qualify_columns=False)
        if not isinstance(query, exp.Query):
            return None
        scope = build_scope(query)
        if scope is None:
            return None
        known: _Known = {}
        return {
            column: [list(origin) for origin in sorted(_origins(scope, column, known))]
            for column in query.named_selects
        }
    except SqlglotError:
        return None


def _origins(scope: Scope, name: str, known: _Known) -> frozenset[tuple[str, str, str]]:
    """Columns of tables (schema, table, column) on which a column of a query depends.

    sqlglot's own lineage looks at a CTE anew wherever it is read, which a chain of forty takes too long for.

    Args:
        known: what was found so far.
    """
    key = (id(scope), name)
    if key not in known:
        known[key] = frozenset()
        known[key] = frozenset(_find_origins(scope, name, known))
    return known[key]


def _find_origins(scope: Scope, name: str, known: _Known) -> Iterator[tuple[str, str, str]]:
    if scope.set_operation_scopes:
        position = _query(scope).named_selects.index(name)
        for part in scope.set_operation_scopes:
            yield from _origins(part, _query(part).named_selects[position], known)
        return
    for selected in (x for x in _query(scope).selects if x.alias_or_name == name):
        for column in find_all_in_scope(selected, exp.Column):
            source = scope.sources.get(column.table)
            if isinstance(source, Scope):
                yield from _origins(source, column.name, known)
            elif isinstance(source, exp.Table):
                yield source.db, source.name, column.name
        inside = {id(query) for query in selected.find_all(exp.Query)}
        for subquery in (x for x in scope.subquery_scopes if id(x.expression) in inside):
            for inner in _query(subquery).named_selects:
                yield from _origins(subquery, inner, known)


def _query(scope: Scope) -> exp.Query | exp.DerivedTable:
    query = scope.expression
    assert isinstance(query, exp.Query | exp.DerivedTable), f"A scope of {type(query).__name__}"
    return query


def compiled_sql(target_path: Path, node: Mapping) -> str | None:
    """The SQL of a model as dbt ran it, from the folder that one invocation wrote."""
    path = target_path / "compiled" / node["package_name"] / node["original_file_path"]
    return path.read_text() if path.exists() else None
