"""Learners under other pseudonyms: every key of a row that begins with its learner's, put under another id of theirs.

A learner's key is `<source>:<id>`, and the keys of what is theirs (enrollments, submissions, …) begin with it (macro
entity_key). The other id is the keyed hash of that key, so that the same key gives the same id in every table and run.
"""

import re
from collections.abc import Iterable

import duckdb

from dagster_project.base.keyed_hash import keyed_hash_sql, set_key
from dagster_project.base.sql import identifier
from dagster_project.store.meta import Table

_PREFIX = "'^[^:]*:[^:]*'"
_UNKNOWN = "'^[^:]*:[0-9a-f]{32}'"
_KEY_IN_TEXT = re.compile(r"[A-Za-z0-9][\w.-]*:[\w-]+(?:\.[\w-]+)*")
_ID_IN_TEXT = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def make_pseudonyms(connection: duckdb.DuckDBPyConnection, learner_keys: str, key: bytes) -> None:
    """Make the temporary table `pseudonyms`: learner_key, other_key, other_id.

    Args:
        learner_keys: query of one column, the keys of learners; a key may come twice.
        key: of the hashes.
    """
    set_key(connection, key)
    connection.execute(
        "create or replace temporary table pseudonyms as select learner_key, "
        f"{_other_key('learner_key', 'other_id')} as other_key, other_id from (select distinct learner_key, "
        f"{keyed_hash_sql('learner_key')} as other_id from ({learner_keys}) as keys (learner_key) "
        "where learner_key is not null)"
    )


def learner_keys(catalog: str, tables: Iterable[Table]) -> str:
    """Query of the keys of all learners of a database, for `make_pseudonyms`.

    Of those too whom what was computed remembers, or whom a held row names, and no learners table any more.
    """
    queries = []
    for table in tables:
        columns = {column.name for column in table.columns}
        name = ".".join(map(identifier, (catalog, table.schema, table.name)))
        if "grader_key" in columns:
            queries.append(f"select grader_key from {name}")
        if table.full_name == "core.dim_learner" or (table.schema == "analytics" and "learner_key" in columns):
            queries.append(f"select learner_key from {name}")
        elif table.full_name == "core.fct_held_rows":
            queries.append(f"select nullif(regexp_extract(example_key, {_UNKNOWN}), '') as learner_key from {name}")
    return " union all ".join(queries) or "select null::varchar as learner_key"


def rewrite_texts(connection: duckdb.DuckDBPyConnection, texts: Iterable[str]) -> dict[str, str]:
    """Texts in which keys or ids of learners of `pseudonyms` stand → the same with their others."""
    found = {text: {*_KEY_IN_TEXT.findall(text), *_ID_IN_TEXT.findall(text)} for text in texts}
    others = dict(
        connection.execute(
            "with words as (select unnest(?::varchar[]) as word) "
            "select word, other_key from words inner join pseudonyms on word = learner_key union all "
            "select word, other_id from words inner join pseudonyms "
            "on word = substr(learner_key, position(':' in learner_key) + 1)",
            [sorted(set().union(*found.values()))],
        ).fetchall()
    )
    rewritten = {}
    for text, words in found.items():
        new = text
        for pattern in (_KEY_IN_TEXT, _ID_IN_TEXT) if not words.isdisjoint(others) else ():
            new = pattern.sub(lambda match: others.get(match[0], match[0]), new)
        if new != text:
            rewritten[text] = new
    return rewritten


def under_pseudonyms(table: Table, relation: str) -> str:
    """Query of the rows of a relation that has the columns of a table, under the ids of `pseudonyms`.

    A learner who is not in `pseudonyms` has the other key all the same where a row has his `learner_key`.
    """
    texts = [column.name for column in table.columns if column.data_type == "VARCHAR"]
    keys = [name for name in texts if name.endswith("_key") and name != "learner_key"]
    if "learner_key" in texts:
        hashed = _other_key("rows.learner_key", keyed_hash_sql("rows.learner_key"))
        other = f"coalesce(pseudonyms.other_key, {hashed})"
        changed = {"learner_key": other} | {
            name: f"case when starts_with(rows.{identifier(name)}, rows.learner_key || ':') then {other} || "
            f"substr(rows.{identifier(name)}, length(rows.learner_key) + 1) else rows.{identifier(name)} end"
            for name in keys
        }
        if "learner_id" in texts:
            changed["learner_id"] = f"coalesce(pseudonyms.other_id, {keyed_hash_sql('rows.learner_key')})"
        joins = " left join pseudonyms on rows.learner_key = pseudonyms.learner_key"
    else:
        changed, joins = {}, ""
        for number, name in enumerate(keys):
            column, other = f"rows.{identifier(name)}", f"pseudonyms_{number}"
            joins += f" left join pseudonyms as {other} on regexp_extract({column}, {_PREFIX}) = {other}.learner_key"
            changed[name] = (
                f"coalesce({other}.other_key || substr({column}, length({other}.learner_key) + 1), {column})"
            )
    if not changed:
        return f"from {relation}"
    replaced = ", ".join(f"{expression} as {identifier(name)}" for name, expression in changed.items())
    return f"select rows.* replace ({replaced}) from {relation} as rows{joins}"


def needs_everybody(table: Table) -> bool:
    """Whether a row's pseudonyms depend on who else is in `pseudonyms`, not on the row alone."""
    texts = [column.name for column in table.columns if column.data_type == "VARCHAR"]
    return "learner_key" not in texts and any(name.endswith("_key") for name in texts)


def _other_key(learner_key: str, other_id: str) -> str:
    return f"left({learner_key}, position(':' in {learner_key})) || {other_id}"
