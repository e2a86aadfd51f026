"""From compiled SQL to the columns that a column comes from."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from dagster_project.defs.transform import lineage
from dagster_project.defs.transform.lineage import column_lineages

COLUMNS = {
    "core.clicks": {"learner": "varchar", "count": "integer", "day": "date"},
    "core.learners": {"learner": "varchar", "country": "varchar"},
}


def column_lineage(sql: str) -> dg.TableColumnLineage | None:
    with TemporaryDirectory() as folder:
        return column_lineages({"marts.made": sql}, COLUMNS, Path(folder) / "kept.json").get("marts.made")


def dependencies(sql: str) -> dict[str, set[str]]:
    found = column_lineage(sql)
    assert found
    return {
        column: {f"{dep.asset_key.path[1]}.{dep.column_name}" for dep in deps}
        for column, deps in found.deps_by_column.items()
    }


def test_columns_are_followed_through_ctes_joins_and_windows():
    sql = """
        with daily as (select learner, day, sum(count) as total from build.core.clicks group by learner, day),
        joined as (select daily.*, learners.country from daily join build.core.learners using (learner))
        select country, sum(total) over (partition by learner order by day) as running from joined
    """
    assert dependencies(sql) == {
        "country": {"learners.country"},
        "running": {"clicks.count", "clicks.learner", "clicks.day"},
    }


def test_stars_are_expanded():
    assert dependencies("select * from core.learners") == {
        "learner": {"learners.learner"},
        "country": {"learners.country"},
    }


def test_asset_keys_are_schema_and_table():
    found = column_lineage("select country from core.learners")
    (dep,) = found.deps_by_column["country"]
    assert dep.asset_key == dg.AssetKey(["core", "learners"])


def test_only_what_changed_is_followed_again(tmp_path, monkeypatch):
    followed = []
    monkeypatch.setattr(lineage, "parse_one", lambda sql, **_: followed.append(sql) or parse(sql, **_))
    parse = lineage.exp.maybe_parse
    queries = {"marts.one": "select country from core.learners", "marts.two": "select day from core.clicks"}
    first = column_lineages(queries, COLUMNS, tmp_path / "kept.json")
    assert column_lineages(queries, COLUMNS, tmp_path / "kept.json") == first
    assert followed == list(queries.values())
    changed = {"marts.two": "select count as day from core.clicks"}
    (dep,) = column_lineages(changed, COLUMNS, tmp_path / "kept.json")["marts.two"].deps_by_column["day"]
    assert dep.column_name == "count"
    # A star means other columns once the table has others.
    star = {"marts.two": "select * from core.clicks"}
    for columns in (COLUMNS, {**COLUMNS, "core.clicks": {"learner": "varchar", "device": "varchar"}}):
        found = column_lineages(star, columns, tmp_path / "kept.json")["marts.two"]
        assert set(found.deps_by_column) == set(columns["core.clicks"])


def test_sql_that_cannot_be_followed_has_no_lineage():
    assert column_lineage("select from where") is None


def test_a_long_chain_of_ctes_that_are_read_twice_is_followed_at_once():
    links = ["step_0 as (select learner, count from core.clicks)"]
    links += [
        f"step_{n} as (select one.learner, one.count + other.count as count from step_{n - 1} as one "
        f"inner join step_{n - 1} as other using (learner))"
        for n in range(1, 40)
    ]
    assert dependencies(f"with {', '.join(links)} select count from step_39") == {"count": {"clicks.count"}}


def test_unions_and_subqueries_are_followed():
    sql = """
        select learner as who, (select max(day) from core.clicks) as last_on from core.learners
        union all
        select country, null from core.learners
    """
    assert dependencies(sql) == {"who": {"learners.learner", "learners.country"}, "last_on": {"clicks.day"}}
